"""What changed in the OpenAPI document since the last release, and which of it breaks a client of that release.

`python openapi/changes.py` compares `openapi/released.json` with `var/openapi/openapi.json`, and prints a line for each
change. `--release` puts the one in place of the other. Descriptions and examples do not count, and a new code of a
problem breaks nothing: clients must expect codes that they do not know.
"""  # noqa: INP001 - a script, no package

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Node = dict[str, Any]
Change = tuple[bool, str]
"""Whether it breaks, and what it is."""
Part = tuple[Node, Node]
"""A document, and something in it."""

_RELEASED = Path(__file__).with_name("released.json")
_CURRENT = Path(__file__).parent.parent / "var/openapi/openapi.json"
_METHODS = ("get", "put", "post", "patch", "delete")
_LEAST = ("minLength", "minimum", "minItems")
_MOST = ("maxLength", "maximum", "maxItems")
_BOUNDS = (*_LEAST, *_MOST, "pattern", "format")


def main() -> None:
    """Print the changes, those that break first."""
    current = json.loads(_CURRENT.read_text())
    if "--release" in sys.argv:
        _RELEASED.write_text(json.dumps(_without_texts(current), sort_keys=True, indent=1) + "\n")
    released = json.loads(_RELEASED.read_text())
    changes = sorted(set(changes_between(released, current)), key=lambda change: (not change[0], change[1]))
    lines = [f"{'breaks' if breaks else 'adds  '} {text}" for breaks, text in changes]
    number = sum(breaks for breaks, _ in changes)
    lines.append(f"{number} of {len(changes)} changes since the last release break its clients")
    sys.stdout.write("\n".join(lines) + "\n")


def _without_texts(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_texts(one) for one in node]
    if not isinstance(node, dict):
        return node
    texts = {name for name, one in node.items() if name in ("description", "summary") and isinstance(one, str)}
    return {name: _without_texts(one) for name, one in node.items() if name not in {*texts, "examples", "example"}}


def changes_between(released: Node, current: Node) -> Iterator[Change]:
    """The changes of operations, their parameters, bodies and answers."""
    before, after = _operations(released), _operations(current)
    yield from ((True, f"{name}: removed") for name in before.keys() - after.keys())
    yield from ((False, f"{name}: new") for name in after.keys() - before.keys())
    for name in before.keys() & after.keys():
        yield from _of_operation(name, (released, before[name]), (current, after[name]))


def _operations(document: Node) -> dict[str, Node]:
    items = document["paths"].items()
    return {
        f"{method.upper()} {path}": {**item[method], "shared": item.get("parameters", [])}
        for path, item in items
        for method in _METHODS
        if method in item
    }


def _of_operation(name: str, old: Part, new: Part) -> Iterator[Change]:
    known, given = _parameters(*old), _parameters(*new)
    yield from ((True, f"{name}: parameter {one} removed") for one in known.keys() - given.keys())
    for one in given.keys() - known.keys():
        yield bool(given[one].get("required")), f"{name}: parameter {one} new"
    for one in known.keys() & given.keys():
        parts = ((document, parameters[one]) for document, parameters in ((old[0], known), (new[0], given)))
        yield from _of_parameter(f"{name}: parameter {one}", *parts)
    yield from _of_need(f"{name}: body:", *(part[1].get("requestBody", {}) for part in (old, new)))
    if _is_open(old[1]) != _is_open(new[1]):
        yield not _is_open(new[1]), f"{name}: {'no' if _is_open(new[1]) else 'a'} token is required now"
    bodies = (_content(document, operation.get("requestBody", {})) for document, operation in (old, new))
    yield from _of_schema(f"{name}: body", *bodies, asked=True)
    before, after = old[1]["responses"], new[1]["responses"]
    for status in before.keys() - after.keys():
        yield status < "400", f"{name}: answer {status} removed"
    for status in after.keys() - before.keys():
        yield False, f"{name}: answer {status} new"
    for status in before.keys() & after.keys():
        answers = (_content(document, operation["responses"][status]) for document, operation in (old, new))
        yield from _of_schema(f"{name}: answer {status}", *answers, asked=False)


def _parameters(document: Node, operation: Node) -> dict[str, Node]:
    found = [_resolved(document, one) for one in (*operation["shared"], *operation.get("parameters", ()))]
    return {f"{one['name']} in {one['in']}": one for one in found}


def _of_parameter(where: str, old: Part, new: Part) -> Iterator[Change]:
    yield from _of_need(where, old[1], new[1])
    schemas = (_resolved(document, parameter.get("schema", {})) for document, parameter in (old, new))
    yield from _of_value(where, *schemas, asked=True)


def _of_need(where: str, before: Node, after: Node) -> Iterator[Change]:
    was, now = bool(before.get("required")), bool(after.get("required"))
    if was != now:
        yield now, f"{where} is {'required' if now else 'optional'} now"


def _is_open(operation: Node) -> bool:
    """Whether it can be asked for without a token."""
    ways = operation.get("security", [])
    return not ways or {} in ways


def _content(document: Node, holder: Node) -> Part:
    """The schema of a body or an answer; empty for none."""
    media: Node = next(iter(_resolved(document, holder).get("content", {}).values()), {})
    return document, _resolved(document, media.get("schema", {}))


def _of_schema(where: str, old: Part, new: Part, *, asked: bool) -> Iterator[Change]:
    was, now = _fields(*old), _fields(*new)
    before, after = _required(*old), _required(*new)
    yield from ((True, f"{where}: field {field} removed") for field in was.keys() - now.keys())
    yield from ((asked and field in after, f"{where}: field {field} new") for field in now.keys() - was.keys())
    for field in was.keys() & now.keys():
        if (field in before) != (field in after):
            breaks = asked == (field in after)
            yield breaks, f"{where}: field {field} is {'required' if field in after else 'optional'} now"
        yield from _of_value(f"{where}: field {field}", was[field], now[field], asked=asked)


def _fields(document: Node, schema: Node) -> dict[str, Node]:
    own = {name: _resolved(document, one) for name, one in schema.get("properties", {}).items()}
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        own = {**_fields(document, _resolved(document, part)), **own}
    return own


def _required(document: Node, schema: Node) -> set[str]:
    """The fields that are always there: of every part of `allOf`, and of what all alternatives have in common."""
    alternatives = [_resolved(document, one) for one in (*schema.get("oneOf", ()), *schema.get("anyOf", ()))]
    common = set.intersection(*(_required(document, one) for one in alternatives)) if alternatives else set()
    parts = (_required(document, _resolved(document, one)) for one in schema.get("allOf", ()))
    return set(schema.get("required", ())).union(common, *parts)


def _of_value(where: str, before: Node, after: Node, *, asked: bool) -> Iterator[Change]:
    if before.get("type") != after.get("type"):
        yield True, f"{where}: type {before.get('type')} is {after.get('type')} now"
    lost, won = (
        set(one.get("enum", ())) - set(other.get("enum", ())) for one, other in ((before, after), (after, before))
    )
    if lost and after.get("enum"):
        yield asked, f"{where}: values removed: {', '.join(map(str, sorted(lost, key=str)))}"
    if won and before.get("enum"):
        yield False, f"{where}: values new: {', '.join(map(str, sorted(won, key=str)))}"
    for bound in _BOUNDS:
        if before.get(bound) != after.get(bound):
            yield (
                asked and _narrows(bound, before.get(bound), after.get(bound)),
                (f"{where}: {bound} is {after.get(bound)} now"),
            )


def _narrows(bound: str, before: Any, after: Any) -> bool:
    """Whether fewer values are accepted. A bound that was not told before was checked all the same."""
    if before is None or after is None:
        return False
    return bool(after > before) if bound in _LEAST else bool(after < before) if bound in _MOST else True


def _resolved(document: Node, node: Node) -> Node:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


if __name__ == "__main__":
    main()
