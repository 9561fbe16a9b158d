"""The manifests of Kubernetes against the code: no cluster is needed."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from backend.kernel.messages.registry import Kind
from backend.program import Program
from backend.settings import ROOT, listed
from tasks.lanes import lanes_of
from tests import deployment
from tests.settings import settings_with

FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = [one for file in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in MANIFESTS
    if one["kind"] in ("Deployment", "Job")
}
LANES = lanes_of(Program(settings_with()).registry) | {f"any.{kind}": kind for kind in Kind}
"""Those of the program, and one of each kind that a context may have."""


def container(pod: str) -> dict[str, Any]:
    (only,) = PODS[pod]["containers"]
    return dict(only)


def variables(pod: str) -> dict[str, str]:
    given = {one["name"]: one["value"] for one in container(pod)["env"]}
    if "envFrom" in container(pod):
        lines = (FOLDER / "settings.env").read_text().splitlines()
        given |= dict(line.split("=", 1) for line in lines)
    return given


def workers() -> dict[str, set[str]]:
    """The kinds of work of each worker's Deployment."""
    return {name: set(listed(variables(name)["LANES"])) for name in PODS if name.startswith("worker-")}


def test_every_kind_of_work_has_one_worker() -> None:
    kinds = [kind for of_worker in workers().values() for kind in of_worker]
    assert sorted(kinds) == sorted(kind.value for kind in Kind)


def test_every_worker_but_that_of_housekeeping_is_scaled_by_its_lanes_and_by_no_others() -> None:
    patterns = {
        one["spec"]["scaleTargetRef"]["name"]: [trigger["metadata"]["queueName"] for trigger in one["spec"]["triggers"]]
        for one in MANIFESTS
        if one["kind"] == "ScaledObject"
    }
    scaled = {
        name: [lane for lane in LANES if any(re.search(one, lane) for one in of_worker)]
        for name, of_worker in patterns.items()
    }
    lanes = {name: [lane for lane, kind in LANES.items() if kind.value in kinds] for name, kinds in workers().items()}
    del lanes["worker-maintenance"]
    assert scaled == lanes


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_told_only_what_it_reads_and_gets_its_secrets_as_files(pod: str) -> None:
    read = deployment.read_by("backend", "tasks", "celeryconfig.py")
    given = variables(pod)
    files = {name: value for name, value in given.items() if name.endswith("_FILE")}
    mounted = {
        item["path"]
        for volume in PODS[pod]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source["secret"]["items"]
    }
    assert {name.removesuffix("_FILE") for name in given} <= read
    assert {path.removeprefix("/run/secrets/") for path in files.values()} == mounted
    assert {name.removesuffix("_FILE") for name in files} == mounted
    assert not mounted & given.keys()


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_do_no_more_than_its_work(pod: str) -> None:
    assert PODS[pod]["securityContext"]["runAsNonRoot"] is True
    assert PODS[pod]["automountServiceAccountToken"] is False
    assert container(pod)["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container(pod)["resources"]["limits"]


def test_pods_that_are_not_ready_hold_up_no_drain() -> None:
    """With the broker away no worker is ready: a budget that counts them would keep every node from being drained."""
    budgets = {one["metadata"]["name"]: one["spec"] for one in MANIFESTS if one["kind"] == "PodDisruptionBudget"}
    assert budgets.keys() == {"api", *workers()}
    assert {spec["unhealthyPodEvictionPolicy"] for spec in budgets.values()} == {"AlwaysAllow"}


def test_a_worker_is_given_the_time_to_finish_its_longest_task() -> None:
    compose = deployment.services()
    seconds = int(compose["worker"]["stop_grace_period"].removesuffix("s"))
    assert {PODS[name]["terminationGracePeriodSeconds"] for name in workers()} == {seconds}


def test_a_worker_runs_as_it_does_in_compose() -> None:
    def command(text: list[str]) -> list[str]:
        changing = {"--concurrency", "-n"}
        return [word for before, word in zip(["", *text], text, strict=False) if before not in changing]

    expected = command(deployment.services()["worker"]["command"].split())
    assert {tuple(command(container(name)["args"])) for name in workers()} == {tuple(expected)}


def test_the_version_of_the_image_is_pinned() -> None:
    (kustomization,) = (one for one in MANIFESTS if one["kind"] == "Kustomization")
    (image,) = kustomization["images"]
    job = container("migrate")["image"]
    assert image["newTag"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert job == f"{image['newName']}:{image['newTag']}"
    assert set(kustomization["resources"]) | {"kustomization.yaml", "migrate.yaml"} == {
        file.name for file in FOLDER.glob("*.yaml")
    }
