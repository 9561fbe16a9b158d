"""Logs: one line per event, on stderr, without secrets.

Our own lines come from structlog, those of libraries from the standard library. Both pass the same processors.
Get a logger with `structlog.get_logger(__name__)`.
Write constant event names, with variable parts as keys: `log.info("mail sent", operation_id=…)`.
"""

from __future__ import annotations

import json
import linecache
import logging
import ssl
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from functools import lru_cache
from traceback import walk_tb
from typing import Any, TextIO

import psycopg
import structlog
from structlog.contextvars import (
    bind_contextvars,
    bound_contextvars,
    clear_contextvars,
    get_contextvars,
    merge_contextvars,
)
from structlog.stdlib import ProcessorFormatter

from backend.kernel.delivery.sealing import MASK
from backend.kernel.messages.secret import Secret
from backend.settings import Settings

_OUR_PACKAGES = ("backend", "tasks")
_SECRET_WORDS = ("password", "passwd", "token", "secret", "authorization", "credential", "private_key", "api_key")
_SECRET_NAMES = frozenset({"code", "challenge", "otp", "jwt", "cookie", "set_cookie", "signature", "idempotency_key"})
_MOST_FRAMES = 50
_SERVER_LOGGERS = ("_granian", "granian.access")
_TOO_TALKATIVE = (
    "amqp",
    "kombu",
    "opentelemetry",
    "urllib3",
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.beat",
)
_Fields = MutableMapping[str, Any]
_Processor = Callable[[Any, str, _Fields], Any]


def configure_logging(settings: Settings) -> None:
    """Send every log line of this process to stderr: as JSON, or as text if `settings.log_format` is "text".

    INFO and above. May be called again, also with other settings or after a fork. The text of a library's exception
    may quote values: only development shows it.
    """
    _texts.shown = not settings.production
    rendering = _rendering(settings.log_format)
    _OURS[:] = [*_PROCESSORS, *rendering]
    structlog.configure(
        processors=_OURS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Stderr,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _StderrHandler)]:
        root.removeHandler(handler)
    root.addHandler(_handler(rendering))
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.beat").addFilter(_in_one_line)
    for name in _SERVER_LOGGERS:
        # The web server gives these their own plain-text handlers before it loads the application.
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True


def _in_one_line(record: logging.LogRecord) -> bool:
    """Beat fails to publish every two seconds while the broker is away, and says each time where in its code."""
    if isinstance(record.args, tuple) and str(record.msg).startswith("Message Error"):
        record.msg, record.args, record.exc_info = "not published: %s", record.args[:1], None
    return True


def bind_request(request_id: str, **extra: object) -> None:
    """Start a request or a message: every later line of this thread contains `request_id` and `extra`.

    It drops what an earlier request has bound, so call it before anything else binds.
    """
    clear_contextvars()
    bind_contextvars(request_id=request_id, **extra)


def end_request() -> None:
    """End a request or a message: what this thread does next does not belong to it."""
    clear_contextvars()


def bound(**values: object) -> AbstractContextManager[None]:
    """Lines written in the `with` block contain `values` as well."""
    return bound_contextvars(**values)


def bound_values() -> dict[str, Any]:
    """What every line contains here, for `bound` elsewhere."""
    return get_contextvars()


class _Texts:
    """Whether the texts of all exceptions are shown, or only those of ours."""

    shown = False


_texts = _Texts()


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Looks up stderr for each line, so that a later replacement (a test, a daemon) gets the lines."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Formatter(ProcessorFormatter):
    """Removes exceptions from a library's arguments: their text may contain values, such as SQL parameters."""

    def format(self, record: logging.LogRecord) -> str:
        if record.args or isinstance(record.msg, BaseException):
            record = logging.makeLogRecord(record.__dict__)
            record.msg = _without_text(record.msg)
            record.args = _without_exception_text(record.args)
        return super().format(record)


class _Stderr:
    """Writes our own lines. Records of the standard library would cost twice as much."""

    def __init__(self, name: str) -> None:
        self.name = name

    def info(self, line: str) -> None:
        """Write a finished line in one piece."""
        sys.stderr.write(f"{line}\n")

    warning = error = critical = info


def _rendering(log_format: str) -> list[_Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    as_text: list[_Processor] = [_traceback_as_text, console]
    as_json: list[_Processor] = [structlog.processors.JSONRenderer(serializer=_json)]
    return as_json if log_format == "json" else as_text


def _handler(rendering: list[_Processor]) -> logging.Handler:
    handler = _StderrHandler()
    processors = [ProcessorFormatter.remove_processors_meta, *rendering]
    handler.setFormatter(_Formatter(foreign_pre_chain=_PROCESSORS, processors=processors))
    return handler


def _without_exception_text(args: Any) -> Any:
    if isinstance(args, Mapping):
        plain = {key: _without_text(value) for key, value in args.items()}
        if {"exc", "traceback"} <= plain.keys() and not _texts.shown:
            # Celery formats the exception before it logs: keep the type's name, `exception` has the frames.
            plain |= {"exc": str(plain["exc"]).partition("(")[0], "traceback": ""}
        return plain
    return tuple(_without_text(value) for value in args)


def _without_text(value: object) -> object:
    return _described(value) if isinstance(value, BaseException) else value


def _described(error: BaseException) -> str:
    """The exception as the log shows it."""
    return summary(error, with_text=_texts.shown)


def _add_exception(_logger: Any, _method: str, fields: _Fields) -> _Fields:
    """Replace `exc_info` by `exception`: every exception of the chain with type and frames, the raised one first."""
    given = fields.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        fields["exception"] = [_rendered(link, _described(link)) for link in _chain(error)]
    return fields


def traceback_of(error: BaseException, *, with_text: bool = False) -> list[dict[str, Any]]:
    """Every exception of the chain with type and frames, the raised one first; see `summary`."""
    return [_rendered(link, summary(link, with_text=with_text)) for link in _chain(error)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: deque[BaseException | None] = deque([error])
    while waiting:
        link = waiting.popleft()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            waiting.extend(link.exceptions)
        waiting.append(link.__cause__ or (None if link.__suppress_context__ else link.__context__))


def _rendered(error: BaseException, described: str) -> dict[str, Any]:
    frames = deque(walk_tb(error.__traceback__), maxlen=_MOST_FRAMES)
    return {
        "type": described,
        "frames": [
            {"file": frame.f_code.co_filename, "line": line, "function": _function(frame.f_code)}
            for frame, line in frames
        ],
    }


def _function(code: Any) -> str:
    # Celery rebuilds tracebacks of another process with code objects that have only their short name.
    return str(getattr(code, "co_qualname", code.co_name))


def summary(error: BaseException, *, with_text: bool) -> str:
    """The exception's type, its SQLSTATE if it has one, and its text if it is ours, or wanted: it may quote values. Why
    a connection failed quotes none, and nothing else tells it.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    sqlstate = getattr(error, "sqlstate", None)
    state = f" [{sqlstate}]" if isinstance(sqlstate, str) else ""
    ours = kind.__module__.partition(".")[0] in _OUR_PACKAGES
    text = " ".join(str(error).split()) if _is_of_a_connection(error) else str(error) if ours or with_text else ""
    return f"{name}{state}: {text}" if text else f"{name}{state}"


def _is_of_a_connection(error: BaseException) -> bool:
    of_libpq = isinstance(error, psycopg.OperationalError) and str(error).startswith("connection ")
    return of_libpq or isinstance(error, ssl.SSLError)


def _redact(_logger: Any, _method: str, fields: _Fields) -> _Fields:
    """The second line of defense: a secret should not be logged, and is masked if it is."""
    for key, value in fields.items():
        if key not in _SAFE_KEYS:
            fields[key] = MASK if _is_secret(key) else _masked(value)
    return fields


def _masked(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):  # the tuple, because a union type is built for each value
        return value
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, BaseException):
        return _described(value)
    if isinstance(value, Mapping):
        return {str(key): MASK if _is_secret(str(key)) else _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    return value


@lru_cache(1000)
def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in _SECRET_NAMES or any(word in name for word in _SECRET_WORDS)


def _traceback_as_text(_logger: Any, _method: str, fields: _Fields) -> _Fields:
    if isinstance(fields.get("exception"), list):
        fields["exception"] = "\n".join(_link_as_text(link) for link in fields["exception"])
    return fields


def _link_as_text(link: Mapping[str, Any]) -> str:
    lines = [link["type"]]
    for frame in link["frames"]:
        lines.append(f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}')
        lines.append(f"    {linecache.getline(frame['file'], frame['line']).strip()}")
    return "\n".join(lines)


def _json(fields: object, **_options: object) -> str:
    return _ENCODER.encode(fields)


# `str` for unknown types: a Secret, and a command that contains one, mask themselves in it.
_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)
_OURS: list[_Processor] = []
"""Changed in place: loggers that were used before refer to this list."""
_SAFE_KEYS = frozenset({"level", "logger", "timestamp", "exception", "_record", "_from_structlog"})
_PROCESSORS: list[_Processor] = [
    merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_exception,
    _redact,
]
