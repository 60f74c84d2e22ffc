"""The compose file: held against the specification's schema, against the program, and against what it mounts."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from clipledger.core.times import parse_duration
from clipledger.crew import ROLES
from clipledger.worker import GRACE_S
from deploy.commands import METRICS_PORT, check_command, check_settings
from tidy.house import ROOT, none_of

COMPOSE = ROOT / "deploy" / "compose"
_AFTER_GRACE_S = 15
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@cache
def project() -> Any:
    """Read the compose file as it is without an .env."""
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(_VARIABLE.sub(lambda found: found[2], text))


def services() -> dict[str, Any]:
    found: dict[str, Any] = project()["services"]
    return found


def ours() -> Iterator[tuple[str, Any]]:
    """Walk the services that run the program."""
    return ((name, service) for name, service in services().items() if "clipledger:dev" in service["image"])


def workers() -> Iterator[tuple[str, Any]]:
    return ((name, service) for name, service in ours() if "run" in service["command"])


def test_the_file_fits_the_specification() -> None:
    """docker compose would take the file: it fits the schema of the compose specification."""
    schema = resources.files("check_jsonschema.builtin_schemas") / "vendor" / "compose-spec.json"
    jsonschema.validate(project(), json.loads(schema.read_text(encoding="utf-8")))


def test_each_role_has_its_service() -> None:
    """The roles together do all the work: none is forgotten, none is there twice."""
    assert [service["command"][service["command"].index("--only") + 1] for _, service in workers()] == list(ROLES)
    assert services()["capture"]["deploy"]["replicas"] >= 1


def test_every_command_and_setting_is_one_of_the_program() -> None:
    """No service starts with a command line or a setting that the program would refuse."""
    for _, service in ours():
        check_command(service["command"])
        check_settings(service["environment"])
        assert "@postgres:5432/" in service["environment"]["CLIPLEDGER_DATABASE__URL"]
    for _, service in workers():
        assert service["command"][-1] == str(METRICS_PORT)


def test_no_service_has_more_rights_than_it_needs() -> None:
    """Every service has a read-only root, no capabilities and no way to gain any; ours run as a fixed nobody."""
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged") and "cap_add" not in service, name
        assert re.search(r":[^:/]+$", service["image"]) and not service["image"].endswith(":latest"), name
    assert {service["user"] for _, service in ours()} == {"10001:10001"}
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"grafana": ["127.0.0.1:3000:3000"]}


def test_only_those_who_pay_hold_the_key() -> None:
    """The API key is a file, and only in the two roles that call the API."""
    holders = {name for name, service in services().items() if "tiklive_key" in service.get("secrets", ())}
    assert holders == {"listing", "capture"}
    for name in holders:
        assert services()[name]["environment"]["TIKLIVEAPI_KEY_FILE"] == "/run/secrets/tiklive_key"
        assert set(services()[name]["secrets"]) >= {"pgpass", "aws_credentials"}


def test_everything_that_is_named_is_declared() -> None:
    """Volumes, networks, secrets, configs and dependencies exist, and each file beside the compose file does."""
    known = project()
    for name, service in services().items():
        assert set(service["networks"]) <= known["networks"].keys(), name
        assert set(service.get("secrets", ())) <= known["secrets"].keys(), name
        assert {config["source"] for config in service.get("configs", ())} <= known["configs"].keys(), name
        assert service.get("depends_on", {}).keys() <= services().keys(), name
        volumes = [volume.split(":")[0] for volume in service.get("volumes", ())]
        assert {volume for volume in volumes if "/" not in volume} <= known["volumes"].keys(), name
    none_of([c["file"] for c in known["configs"].values() if not (COMPOSE / c["file"]).is_file()], "missing files")
    used = {secret for service in services().values() for secret in service.get("secrets", ())}
    assert used == known["secrets"].keys()


def test_the_archive_is_made_before_it_is_used() -> None:
    """Workers start once the tables are there and current and the bucket stands."""
    for name, service in workers():
        assert service["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "bucket": {"condition": "service_completed_successfully"},
        }, name
    assert services()["migrate"]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
    assert services()["init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_a_worker_is_given_time_to_stop() -> None:
    """The engine kills later than the program cuts by itself."""
    for name, service in workers():
        assert parse_duration(service["stop_grace_period"]) >= GRACE_S + _AFTER_GRACE_S, name


def test_prometheus_asks_every_role() -> None:
    """What is scraped are the services that serve metrics, on the port that they serve them on."""
    scraped = yaml.safe_load((COMPOSE / "watch" / "prometheus.yml").read_text(encoding="utf-8"))
    ((sd,),) = ([config for job in scraped["scrape_configs"] for config in job["dns_sd_configs"]],)
    assert sd["names"] == [name for name, _ in workers()] and sd["port"] == METRICS_PORT
    rules = [ROOT / "deploy" / "prometheus" / Path(name).name for name in scraped["rule_files"]]
    assert all(path.is_file() for path in rules) and (ROOT / "deploy" / "grafana" / "clipledger.json").is_file()


def test_the_example_names_every_variable() -> None:
    """.env.example tells each variable of the compose file with its default, and no other."""
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    used = dict(_VARIABLE.findall(text))
    told = dict(re.findall(r"(?m)^#(\w+)=(.*)$", (COMPOSE / ".env.example").read_text(encoding="utf-8")))
    assert told == used


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    """make-secrets.sh writes every secret file, closed to others, and keeps what is there when it is run again."""
    key, folder = tmp_path / "key", tmp_path / "secrets"
    key.write_text("the-key\n")
    script = [COMPOSE / "make-secrets.sh", key, folder]

    def made() -> dict[str, str]:
        subprocess.run(script, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
        return {path.name: path.read_text() for path in folder.iterdir()}

    first = made()
    assert first.keys() == project()["secrets"].keys() and made() == first
    assert {f"secrets/{name}" for name in first} == {secret["file"] for secret in project()["secrets"].values()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "pgpass").stat().st_mode) == 0o600, "libpq ignores a password file open to others"
    assert first["tiklive_key"] == "the-key"
    assert first["pgpass"] == f"postgres:5432:clipledger:clipledger:{first['postgres_password']}\n"
    assert f"aws_secret_access_key = {first['s3_password']}\n" in first["aws_credentials"]
    assert len({first["postgres_password"], first["s3_password"], first["grafana_password"]}) == 3


def test_no_secrets_without_a_key(tmp_path: Path) -> None:
    """Without a key file nothing is made, and one line says what is missing."""
    done = subprocess.run(
        [COMPOSE / "make-secrets.sh", tmp_path / "none", tmp_path / "secrets"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "holds no key" in done.stderr and not (tmp_path / "secrets").exists()


def test_secrets_stay_out_of_the_repository() -> None:
    """git ignores the folder of secrets and the .env beside the compose file."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to ignore")
    names = ["deploy/compose/secrets/pgpass", "deploy/compose/.env"]
    command = ["git", "-c", "safe.directory=*", "check-ignore", *names]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split() == names
