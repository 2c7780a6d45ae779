"""The compose file is validated, not run: schema after interpolation, loopback ports, no secrets, shared versions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyOptions

PROJECT = Path(__file__).resolve().parents[1]
COMPOSE = (PROJECT / "docker-compose.yml").read_text()
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
_COMPONENTS = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}


def example_values() -> dict[str, str]:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value or "filled-in" for name, value in pairs}


def interpolate(text: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        found = values.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise KeyError(match["name"])
        return found or (match["rest"] if match["kind"] == "-" else "")

    return _VARIABLE.sub(value, text)


def validate(text: str) -> None:
    options = PyOptions()
    options.apply_merge = True
    options.from_yaml(interpolate(text, example_values())).validate()


def merged() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE))


def test_the_file_is_valid() -> None:
    validate(COMPOSE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    healthcheck:", "    healthchek:"),
        ("  depends_on: &", "  depends_onn: &"),
        ("condition: service_healthy", "condition: service_helthy"),
        ("\nvolumes:\n", "\nvolume:\n"),
        ("      retries: 12", "      retries: many"),
    ],
)
def test_a_mistake_is_refused(right: str, wrong: str) -> None:
    assert right in COMPOSE
    with pytest.raises((ValueError, TypeError)):
        validate(COMPOSE.replace(right, wrong))


def test_every_variable_is_in_the_example() -> None:
    used = {match["name"] for match in _VARIABLE.finditer(COMPOSE) if match["name"]}
    assert used
    assert used == set(example_values())


def test_the_example_holds_no_secret() -> None:
    lines = [line for line in (PROJECT / ".env.example").read_text().splitlines() if "=" in line and line[0] != "#"]
    assert lines
    assert [line for line in lines if not line.endswith("=")] == ["AIRFLOW_PORT=8080"]


def test_the_file_does_not_start_without_its_secrets() -> None:
    with pytest.raises(KeyError):
        interpolate(COMPOSE, {})


def test_no_secret_is_written_down() -> None:
    secrets = re.findall(r"^\s*\w*(?:PASSWORD|SECRET|FERNET_KEY)\w*: (.+)$", COMPOSE, flags=re.MULTILINE)
    assert len(secrets) >= 6
    assert [value for value in secrets if not value.startswith("${") and "passwords.json" not in value] == []


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in merged()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []


def test_every_long_running_service_has_a_healthcheck() -> None:
    services = {name: service for name, service in merged()["services"].items() if name != "airflow-init"}
    assert {name.removeprefix("airflow-") for name in services} >= _COMPONENTS | {"warehouse", "redis", "db"}
    assert [name for name, service in services.items() if "healthcheck" not in service] == []


def test_tasks_are_spread_over_workers() -> None:
    environments = [
        service["environment"]
        for name, service in merged()["services"].items()
        if name.removeprefix("airflow-") in _COMPONENTS
    ]
    assert len(environments) == len(_COMPONENTS)
    assert {environment["AIRFLOW__CORE__EXECUTOR"] for environment in environments} == {"CeleryExecutor"}


def test_images_are_pinned() -> None:
    images = {service["image"] for service in merged()["services"].values()}
    base = re.search(r"^FROM (\S+)", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert base is not None
    for image in images | {base[1]}:
        assert re.search(r":(local|\d+\.\d+.*)$", image), image


def test_what_the_image_copies_is_let_through_to_the_builder() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert len(names) >= 6
    assert ignored[1] == "*"
    assert [name for name in names if f"!{name}" not in ignored] == []
