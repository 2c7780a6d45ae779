from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.stack import airflow, postgres, stack
from demo.stack.airflow import AirflowPlan
from demo.stack.errors import StackFailed
from demo.stack.processes import Supervisor
from demo.stack.progress import PlainProgress
from demo.stack.stack import STOP_ORDER, Stack, clear
from demo.stack.state import State
from o2c.connections import from_environment
from o2c.settings import Settings


@pytest.fixture
def built(tmp_path: Path) -> Stack:
    """A stack as it is once Postgres and the counterparts answer, without any of them."""
    state = State(tmp_path / "demo")
    state.prepare()
    built = Stack(state, None, PlainProgress(lambda _line: None), durable=False)  # type: ignore[arg-type]
    built.cluster = postgres.Cluster(5432, postgres.Binaries(tmp_path, None), built.secrets)
    (state.root / "sftp-server.port").write_text("2222\n")
    (state.root / "crm-server.port").write_text("8443\n")
    (state.root / "sftp_host_key.pub").write_text("ssh-ed25519 AAAAkey comment\n")
    built.environment = built._environment()
    return built


def test_every_connection_can_be_read_as_the_command_line_reads_it(built: Stack) -> None:
    found = {
        name: from_environment(name, built.environment) for name in ("erp_db", "crm_api", "bank_sftp", "card_sftp")
    }
    assert {connection.host for connection in found.values()} == {"127.0.0.1"}
    assert (found["erp_db"].login, found["erp_db"].schema, found["erp_db"].port) == ("erp_reader", "erp", 5432)
    assert found["crm_api"].extra["scheme"] == "http"
    assert (found["crm_api"].port, found["bank_sftp"].port) == (8443, 2222)
    assert found["bank_sftp"].extra == {"host_key": "ssh-ed25519 AAAAkey"}
    assert found["bank_sftp"].password == built.secrets["sftp"]


def test_the_pipeline_reads_the_erp_but_cannot_change_it(built: Stack) -> None:
    assert from_environment("erp_db", built.environment).password == built.secrets["erp_reader"] != built.secrets["erp"]


def test_the_settings_of_the_pipeline_lie_in_the_state_directory(built: Stack) -> None:
    settings = Settings.load(built.environment)
    assert settings.home == built.state.root
    assert settings.reports_dir == built.state.reports
    assert settings.warehouse_url == built.warehouse_url
    assert str(settings.as_of) == "2026-06-30"


def test_the_truth_is_not_where_the_counterparts_serve(built: Stack) -> None:
    commands = built._commands()
    served = [command.arguments[command.arguments.index("--directory") + 1] for command in commands.values()]
    assert sorted(served) == [str(built.state.company / name) for name in ("crm", "sftp")]


def test_no_password_stands_in_a_process_list(built: Stack) -> None:
    built.plan = AirflowPlan(built.state, 8080, built.cluster, built.secrets, built.environment)
    commands = built._commands()
    assert set(commands) == {*stack.SERVERS, *airflow.COMPONENTS}
    words = " ".join(word for command in commands.values() for word in command.arguments)
    assert not [value for value in built.secrets.values() if value in words]


def test_a_server_that_is_started_again_keeps_its_port(built: Stack) -> None:
    arguments = list(built._commands()["crm-server"].arguments)
    assert arguments[arguments.index("--port") + 1] == "8443"


def test_everything_that_is_started_has_a_place_in_the_stop_order() -> None:
    names = [name for group in STOP_ORDER for name in group]
    assert {*airflow.COMPONENTS, *stack.SERVERS, "postgres", "sample-company", "warehouse-init"} == set(names)
    assert names[-1] == "postgres"


def test_a_company_is_made_once(built: Stack) -> None:
    assert built.is_new
    (built.state.root / "company-ready").touch()
    assert not built.is_new


def test_a_full_disk_is_told_before_anything_starts(built: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("O2C_MIN_FREE_MB", "999999999999")
    with pytest.raises(StackFailed, match="MB of disk are free"):
        built.start()


def test_clearing_stops_what_an_earlier_stack_left(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    from demo.stack.processes import Identity

    state = State(tmp_path / "demo")
    state.prepare()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    identity = Identity.of(process.pid)
    assert identity is not None
    record = {"pid": identity.pid, "started": identity.started, "stop_signal": 15, "grace": 1.0}
    (state.pids / "old.json").write_text(json.dumps(record))
    clear(state)
    assert process.wait() != 0
    assert not state.root.exists()
    assert os.path.isdir(tmp_path)


@pytest.mark.integration
def test_one_part_that_fails_ends_the_start_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "demo")
    state.prepare()
    monkeypatch.setattr(stack.Stack, "_start_airflow", lambda self: self.supervisor.check())

    def broken(_self: Stack) -> None:
        raise StackFailed("The sample company failed.")

    monkeypatch.setattr(stack.Stack, "_make_company", broken)
    built = Stack(state, Supervisor(state), PlainProgress(lambda _line: None), durable=False)
    try:
        with pytest.raises(StackFailed, match="The sample company failed"):
            built.start()
    finally:
        built.stop()
        postgres.remove_data(state)
    assert list(state.pids.iterdir()) == []
