from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.stack import airflow, postgres
from demo.stack.airflow import AirflowPlan
from demo.stack.errors import StackFailed
from demo.stack.state import State, load_secrets


@pytest.fixture
def plan(tmp_path: Path) -> AirflowPlan:
    state = State(tmp_path / "state")
    state.prepare()
    secrets = load_secrets(state)
    cluster = postgres.Cluster(5432, postgres.Binaries(tmp_path, None), secrets)
    return AirflowPlan(state, 8081, cluster, secrets, {"O2C_HOME": str(state.root)})


def test_everything_has_a_loopback_address(plan: AirflowPlan) -> None:
    environment = plan.environment()
    addresses = {name: value for name, value in environment.items() if name.startswith("AIRFLOW__") and "://" in value}
    assert len(addresses) >= 4
    assert {urlsplit(value).hostname for value in addresses.values()} == {"127.0.0.1"}
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_the_log_servers_that_know_no_address_are_not_started(plan: AirflowPlan) -> None:
    commands = airflow.commands(plan)
    assert set(commands) == set(airflow.COMPONENTS)
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert "--skip-serve-logs" in commands[name].arguments


def test_nothing_of_the_users_own_tools_is_read(plan: AirflowPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_ERP_DB", "PGHOST", "DBT_PROFILES_DIR", "PYTHONPATH", "GX_HOME")
    for name in foreign:
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("LANG", "C")
    environment = plan.environment()
    assert "foreign" not in environment.values()
    assert environment["LANG"] == "C"
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))


def test_every_tool_keeps_quiet(plan: AirflowPlan) -> None:
    assert airflow.NO_TELEMETRY.items() <= plan.environment().items()
    assert len(airflow.NO_TELEMETRY) >= 5


def test_secrets_come_from_the_state_directory(plan: AirflowPlan) -> None:
    environment = plan.environment()
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == plan.secrets["jwt_secret"]
    assert len(environment["AIRFLOW__API__SECRET_KEY"]) == 128
    assert not [value for value in plan.secrets.values() if value in repr(plan)]


def test_the_home_holds_passwords_privately_and_the_preload_module(plan: AirflowPlan) -> None:
    airflow.prepare_home(plan)
    home = plan.state.airflow_home
    assert json.loads((home / "passwords.json").read_text()).keys() == {"admin", "viewer"}
    assert (home / "passwords.json").stat().st_mode & 0o777 == 0o600
    assert "_preload()" in (home / "config" / "airflow_local_settings.py").read_text()


class FakeSupervisor:
    def check(self) -> None:
        pass


@pytest.mark.parametrize("sick", ["scheduler", "triggerer", "dag_processor", "metadatabase"])
def test_one_sick_part_is_named(plan: AirflowPlan, monkeypatch: pytest.MonkeyPatch, sick: str) -> None:
    health = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")}
    monkeypatch.setattr(airflow.AirflowApi, "health", lambda _self: health)
    assert airflow.wait_until_healthy(FakeSupervisor(), plan) is not None  # type: ignore[arg-type]
    health[sick] = {"status": "unhealthy"}
    with pytest.raises(StackFailed, match=f"still waiting for {sick}"):
        airflow.wait_until_healthy(FakeSupervisor(), plan, timeout=0.0)  # type: ignore[arg-type]
