"""`docker-compose.yml` is valid and starts what Cohort needs; images are pinned, secrets stay out of it."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mcp_server.cli import app
from stack.redis import LIMITS
from stack.settings import Settings

ROOT = Path(__file__).parents[2]
SECRETS = dict.fromkeys(
    ("COHORT_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET", "LLM_KEY"), "c2VjcmV0"
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(compose, schema, jsonschema.Draft202012Validator)


def test_every_image_is_pinned_or_built_here(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:\d[\w.-]+", service["image"]), name


def test_each_process_of_the_embedded_stack_has_its_service(compose: dict[str, Any]) -> None:
    commands = {service["command"][0] for service in compose["services"].values() if "build" in service}
    assert commands == {"serve", "worker", "migrate", "llm"}
    assert commands <= {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    assert {"postgres", "redis", "s3", "temporal", "temporal-ui", "otel-collector", "traces"} <= set(
        compose["services"]
    )


def test_dependencies_name_services_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} waits for {needed}"
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed], f"{name} -> {needed}"


def test_its_redis_is_bounded_like_the_embedded_one(compose: dict[str, Any]) -> None:
    words = " ".join(compose["services"]["redis"]["command"]).split()
    given = {name.removeprefix("--"): value for name, value in pairwise(words)}
    assert {name: given.get(name) for name in LIMITS} == LIMITS


def test_only_loopback_is_published(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_secrets_come_from_the_environment(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY$|PWD", variable) and not variable.endswith("KEY_ID"):
                assert "${" in value, f"{name}: {variable}"


def test_cohort_knows_every_setting_that_is_given(compose: dict[str, Any]) -> None:
    known = {f"COHORT_{name.upper()}" for name in Settings.model_fields}
    for service in compose["services"].values():
        assert {name for name in service.get("environment", {}) if name.startswith("COHORT_")} <= known


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_docker_compose_accepts_it_where_a_client_is_at_hand() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode:
        # The specification's schema, checked above, is what a client would check too.
        return
    command = [docker, "compose", "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    subprocess.run(command, check=True, env=SECRETS | {"PATH": "/usr/bin:/bin:/usr/local/bin"})
