"""The Kubernetes manifests: rendered, held against the schemas, and against the program that they start."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from clipledger.archive import SystemClock, create_archive
from clipledger.core.times import parse_duration
from clipledger.crew import ROLES
from clipledger.settings import Queue, Settings
from clipledger.worker import GRACE_S
from deploy.commands import METRICS_PORT, check_command, check_settings
from deploy.kustomize import Document, read, render
from postgres import execute, shared_server
from process.harness import Archive, plain_environment
from tidy.house import ROOT, none_of

KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDERS = ("base", "overlays/minimal", "overlays/production")
OLDEST, NEWEST = "1.28", "1.34"
"""The releases whose schemas are asked; what lies between is of the same API versions."""

_AFTER_GRACE_S = 15
_UNITS = {"Mi": 2**20, "Gi": 2**30}

# Hand-written: the fields that are used, as KEDA 2 and the Prometheus operator document them.
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}


def _fields(required: list[str], **known: Any) -> Document:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": known}


_RULES = _fields(
    ["policies"],
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    policies={
        "type": "array",
        "items": _fields(
            ["type", "value", "periodSeconds"],
            type={"enum": ["Pods", "Percent"]},
            value={"type": "integer", "minimum": 1},
            periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
        ),
    },
)
_CUSTOM: dict[tuple[str, str], Document] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _fields(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=_fields(["name"], name=_TEXT, kind=_TEXT, apiVersion=_TEXT),
        pollingInterval=_COUNT,
        cooldownPeriod=_COUNT,
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        fallback=_fields(["failureThreshold", "replicas"], failureThreshold=_COUNT, replicas=_COUNT),
        advanced=_fields(
            [], horizontalPodAutoscalerConfig=_fields([], behavior=_fields([], scaleDown=_RULES, scaleUp=_RULES))
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": _fields(
                ["type", "metadata"],
                type={"const": "postgresql"},
                # The operator takes text only, numbers too.
                metadata=_fields(
                    ["query", "targetQueryValue"],
                    query=_TEXT,
                    targetQueryValue={"type": "string", "pattern": r"^\d+(\.\d+)?$"},
                    activationTargetQueryValue={"type": "string"},
                ),
                authenticationRef=_fields(["name"], name=_TEXT),
            ),
        },
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): _fields(
        ["secretTargetRef"],
        secretTargetRef={
            "type": "array",
            "items": _fields(["parameter", "name", "key"], parameter={"const": "connection"}, name=_TEXT, key=_TEXT),
        },
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _fields(
        ["selector", "podMetricsEndpoints"],
        selector={"type": "object"},
        podTargetLabels={"type": "array", "items": _TEXT},
        podMetricsEndpoints={
            "type": "array",
            "items": _fields(["port"], port=_TEXT, path={"type": "string", "pattern": "^/"}, interval=_TEXT),
        },
    ),
}


@cache
def rendered(name: str) -> list[Document]:
    """Render one folder, once."""
    return render(KUBERNETES / name)


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [found for found in documents if found["kind"] in kinds]


def pods(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Walk whatever makes pods, as (name, pod template, its spec)."""
    for found in of_kind(documents, "Deployment", "Job", "CronJob"):
        spec = found["spec"]["jobTemplate"]["spec"] if found["kind"] == "CronJob" else found["spec"]
        yield found["metadata"]["name"], spec["template"], spec["template"]["spec"]


def containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for name, _, spec in pods(documents):
        for container in (*spec["initContainers"], *spec["containers"]):
            yield f"{name}/{container['name']}", container


def size(text: str) -> int:
    found = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    assert found is not None, text
    return int(found[1]) * _UNITS[found[2]]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_document_fits_its_schema(folder: str, version: str) -> None:
    """The API server of an old and of a new release would take each document, without an unknown or misspelt field."""
    for found in rendered(folder):
        custom = _CUSTOM.get((found["apiVersion"], found["kind"]))
        if custom is not None:
            jsonschema.validate(found["spec"], custom)
        else:
            kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_renderer_of_the_tests_is_kustomize(folder: str) -> None:
    """What these tests look at is what `kubectl apply -k` would send, to the last field."""
    tool = [found, "kustomize"] if (found := shutil.which("kubectl")) else [shutil.which("kustomize"), "build"]
    if tool[0] is None:
        pytest.skip("NOT TESTED: install kubectl or kustomize to hold the renderer of these tests against it")
    env = {"PATH": os.environ["PATH"], "KUBECONFIG": os.devnull}
    told = subprocess.run(
        [*tool, KUBERNETES / folder], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    theirs = {_key(found): _sorted(found) for found in yaml.safe_load_all(told.stdout)}
    ours = {_key(found): _sorted(found) for found in rendered(folder)}
    assert ours == theirs


def _key(found: Document) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


def _sorted(found: Any) -> Any:
    """Take the order out of lists that have none: those whose items bear names."""
    if isinstance(found, dict):
        return {key: _sorted(value) for key, value in found.items()}
    if isinstance(found, list):
        items = [_sorted(item) for item in found]
        named = all(isinstance(item, dict) for item in items)
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if named else items
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_role_has_its_deployment(folder: str) -> None:
    """The roles together do all the work: none is forgotten, none is there twice."""
    only = [c["args"][c["args"].index("--only") + 1] for _, c in containers(rendered(folder)) if "--only" in c["args"]]
    assert sorted(only) == sorted(ROLES)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_command_is_one_of_the_program(folder: str) -> None:
    """No pod starts with a command line or a setting that the program would refuse."""
    for _, container in containers(rendered(folder)):
        check_command(container["args"])
        check_settings({entry["name"]: entry.get("value") for entry in container.get("env", ())})
    (settings,) = of_kind(rendered(folder), "ConfigMap")
    check_settings(settings["data"])
    assert (
        "@" in settings["data"]["CLIPLEDGER_DATABASE__URL"]
        and ":" not in (settings["data"]["CLIPLEDGER_DATABASE__URL"].split("//")[1].split("@")[0])
    ), "a password in the ConfigMap"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pod_has_more_rights_than_it_needs(folder: str) -> None:
    """Every pod runs as nobody in particular, on a read-only root, without capabilities or an API token."""
    for name, _, spec in pods(rendered(folder)):
        assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == "clipledger", name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] == context["fsGroup"] == 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert all("sizeLimit" in v["emptyDir"] for v in spec["volumes"] if "emptyDir" in v), name
    for name, container in containers(rendered(folder)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/archive", "/tmp"}, name
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
        assert "memory" in container["resources"]["limits"], name
        assert not container["image"].endswith(":latest") and re.search(r"[:@]", container["image"]), name


@pytest.mark.parametrize("folder", FOLDERS)
def test_secrets_are_named_and_never_written(folder: str) -> None:
    """The tree holds no secret; only the roles that call the API are handed its key."""
    assert of_kind(rendered(folder), "Secret") == []
    holders = {
        name
        for name, _, spec in pods(rendered(folder))
        if any(volume.get("secret", {}).get("secretName") == "clipledger-tiklive" for volume in spec["volumes"])
    }
    assert holders == {"clipledger-listing", "clipledger-capture"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pod_is_given_time_to_stop(folder: str) -> None:
    """Kubernetes kills later than the program cuts by itself: what is under way is finished or given back."""
    for found in of_kind(rendered(folder), "Deployment"):
        spec = found["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] >= GRACE_S + _AFTER_GRACE_S, found["metadata"]["name"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_probes_and_scrapes_ask_the_port_that_is_served(folder: str) -> None:
    """Probes, annotations, the network policy and the monitor all speak of the port that the command line opens."""
    documents = rendered(folder)
    for found in of_kind(documents, "Deployment"):
        template = found["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert container["args"][-2:] == ["--metrics-port", str(METRICS_PORT)]
        assert container["ports"] == [{"name": "metrics", "containerPort": METRICS_PORT}]
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(METRICS_PORT)
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/metrics", "port": "metrics"}
    (policy,) = of_kind(documents, "NetworkPolicy")
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    for monitor in of_kind(documents, "PodMonitor"):
        assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_selectors_find_the_pods_they_mean(folder: str) -> None:
    """Budgets, policies, monitors and the autoscaler point at pods that exist."""
    documents = rendered(folder)
    labels = [template["metadata"]["labels"] for _, template, _ in pods(documents)]
    for found in of_kind(documents, "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Deployment"):
        spec = found["spec"]
        wanted = spec.get("podSelector", spec.get("selector"))["matchLabels"]
        assert any(wanted.items() <= own.items() for own in labels), found["metadata"]["name"]
    (policy,) = of_kind(documents, "NetworkPolicy")
    assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= own.items() for own in labels)
    names = {found["metadata"]["name"] for found in of_kind(documents, "Deployment")}
    for scaled in of_kind(documents, "ScaledObject"):
        assert scaled["spec"]["scaleTargetRef"]["name"] in names


def test_a_lost_pod_is_missed_soon_enough() -> None:
    """Posts of a pod that vanished are taken over in at most 95 s: its lease, and the janitor's next pass."""
    settings = {line["metadata"]["name"]: line["data"] for line in of_kind(rendered("base"), "ConfigMap")}
    (data,) = settings.values()
    assert float(data["CLIPLEDGER_QUEUE__LEASE_S"]) == Queue.model_fields["lease_s"].default
    assert float(data["CLIPLEDGER_QUEUE__LEASE_S"]) + parse_duration(data["CLIPLEDGER_JANITOR__EVERY"]) <= 95


def scaling() -> Document:
    (found,) = of_kind(rendered("overlays/production"), "ScaledObject")
    spec: Document = found["spec"]
    return spec


def test_the_autoscaler_owns_the_number_of_pods() -> None:
    """No fixed number of capture pods fights with the autoscaler, and its bounds fit its query."""
    (capture,) = (
        found
        for found in of_kind(rendered("overlays/production"), "Deployment")
        if found["metadata"]["name"] == scaling()["scaleTargetRef"]["name"]
    )
    assert "replicas" not in capture["spec"]
    assert 1 <= scaling()["minReplicaCount"] <= scaling()["maxReplicaCount"]
    metadata = scaling()["triggers"][0]["metadata"]
    limit = re.search(r"LIMIT (\d+)", metadata["query"])
    assert limit is not None and int(limit[1]) == scaling()["maxReplicaCount"] * int(metadata["targetQueryValue"])
    names = {found["metadata"]["name"] for found in of_kind(rendered("overlays/production"), "TriggerAuthentication")}
    assert scaling()["triggers"][0]["authenticationRef"]["name"] in names


_NOW = "2026-05-29T12:00:00.000Z"
_ROWS = (
    ("due", "pending", "2026-05-29T11:59:59.000Z", None),
    ("due2", "pending", _NOW, None),
    ("later", "pending", "2999-05-29T12:00:01.000Z", None),
    ("suspect", "pending", "2026-05-29T11:00:00.000Z", "2026-05-29T10:00:00.000Z"),
    ("held", "running", "2026-05-29T11:00:00.000Z", None),
    ("done", "archived", "2026-05-29T11:00:00.000Z", None),
)
_INSERT = (
    "INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at, suspect_at) "
    f"VALUES ({{0}}, '@a', {{0}}, '{_NOW}', {{0}}, {{0}})"
)


def test_the_autoscaler_counts_what_is_due(tmp_path: Path) -> None:
    """The query runs on the real tables, counts due posts only, and walks the index of due posts, not the table."""
    create_archive(tmp_path, SystemClock())
    query = scaling()["triggers"][0]["metadata"]["query"]
    with closing(sqlite3.connect(tmp_path / "clipledger.db")) as db:
        db.create_function("now", 0, lambda: _NOW, deterministic=True)  # the one word that SQLite does not have
        db.executemany(_INSERT.format("?"), _ROWS)
        assert db.execute(query).fetchall() == [(2,)]
        plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "USING INDEX archive_queue_due" in plan, plan


@pytest.mark.slow
def test_the_autoscaler_asks_postgresql_so(tmp_path: Path) -> None:
    """PostgreSQL gives the same count, and answers from the index of due posts where the table is not tiny."""
    server, name = shared_server(), f"keda_{uuid.uuid4().hex[:12]}"
    execute(server.url(), f"CREATE DATABASE {name}")
    try:
        archive = Archive(tmp_path / "archive", plain_environment() | {"CLIPLEDGER_DATABASE__URL": server.url(name)})
        archive.cli("init")
        query, url = scaling()["triggers"][0]["metadata"]["query"], server.url(name)
        for row in _ROWS:
            execute(url, _INSERT.format("%s"), *row)
        assert execute(url, query) == [(2,)]
        numbers = "generate_series(1, 20000) AS n"
        execute(
            url,
            f"INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at) "
            f"SELECT 'a' || n, '@a', 'archived', '{_NOW}', '{_NOW}' FROM {numbers}",
        )
        execute(url, "VACUUM ANALYZE archive_queue")
        plan = " ".join(str(row[0]) for row in execute(url, f"EXPLAIN {query}"))
        assert "archive_queue_due" in plan and "Seq Scan" not in plan, plan
    finally:
        execute(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


def test_every_file_is_used() -> None:
    """No manifest lies in the tree that nothing renders."""
    named: set[Path] = set()
    for folder in (KUBERNETES / name for name in FOLDERS):
        wanted = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        named |= {folder / name for name in wanted["resources"]}
        named |= {folder / patch["path"] for patch in wanted["patches"]}
        named |= {folder / name for generator in wanted["configMapGenerator"] for name in generator.get("envs", ())}
    files = {path for path in KUBERNETES.rglob("*") if path.is_file() and path.name != "kustomization.yaml"}
    none_of(sorted(str(path) for path in files - named), "files that no kustomization names")
    assert all(read(path) for path in files if path.suffix == ".yaml")


def test_settings_of_the_program_are_known() -> None:
    """The check of settings would notice one that does not exist."""
    assert Settings.model_fields
    with pytest.raises(AssertionError):
        check_settings({"CLIPLEDGER_QUEUE__LEASES": "60"})
    with pytest.raises(AssertionError):
        check_command(["run", "--folow"])
