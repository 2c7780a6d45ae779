"""Channels for alerts, against a real SMTP server and a real HTTP server on loopback."""

from __future__ import annotations

import email
import email.policy
import json
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from o2c.errors import O2CError, UsageError
from o2c.settings import Settings
from o2c.warehouse.alerts import Alert

ALERT = Alert(
    alert_id=7,
    check_name="quarantine",
    owner="billing",
    severity="mail",
    rule="due_on >= issued_on",
    what="3 records of erp/invoices in quarantine,\n{{ conn.erp_db.password }} <b>&",
    next_step="Run './o2c quarantine list erp/invoices'.",
    money={"USD": Decimal("1200"), "EUR": Decimal("8412.50")},
    flow="erp/invoices",
    entity="invoice",
    level=0,
    opened_at=datetime(2026, 3, 1, 6, 0, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def notify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        import o2c.pipelines.notify as module

        yield module


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for severity in ("PAGE", "MAIL", "LOG", "ESCALATION"):
        monkeypatch.delenv(f"AIRFLOW_CONN_O2C_ALERT_{severity}", raising=False)
    return Settings.load({"O2C_HOME": str(tmp_path)})


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_O2C_ALERT_{name}", json.dumps(values))


# --- servers -------------------------------------------------------------------------------------------------------


class MailServer(socketserver.ThreadingTCPServer):
    """Enough of SMTP to take mail; ``refuse`` answers 451 to the message."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailSession)
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refuse = False


class _MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        to: list[str] = []
        for raw in self.rfile:
            word = raw.decode().strip()
            if word.upper().startswith("RCPT"):
                to.append(word.partition("<")[2].partition(">")[0])
            if word.upper() == "DATA":
                self.wfile.write(b"354 go on\r\n")
                self.wfile.write(self._take(to))
            elif word.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")

    def _take(self, to: list[str]) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        if self.server.refuse:
            return b"451 later\r\n"
        mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.server.mails.append((to, mail))  # type: ignore[arg-type]
        return b"250 taken\r\n"


class HookServer(ThreadingHTTPServer):
    """Takes what is posted and answers ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookSession)
        self.posted: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.status = 204


class _HookSession(BaseHTTPRequestHandler):
    server: HookServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _serve(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    yield from _serve(MailServer())


@pytest.fixture
def hook_server() -> Iterator[HookServer]:
    yield from _serve(HookServer())


def use_mail(monkeypatch: pytest.MonkeyPatch, server: MailServer, name: str = "MAIL", **extra: Any) -> None:
    plain = {"disable_tls": True, "disable_ssl": True, "timeout": 5, "retry_limit": 0, "from_email": "o2c@example.com"}
    address = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1]}
    connect(monkeypatch, name, **address, extra=plain | extra)


# --- the default: a file and the log -------------------------------------------------------------------------------


def test_without_a_connection_to_a_file(notify: ModuleType, settings: Settings) -> None:
    tell = notify.tell(settings)
    assert tell(ALERT) == tell(replace(ALERT, alert_id=8)) == "alerts.jsonl"
    first, second = map(json.loads, (settings.home / "alerts.jsonl").read_text().splitlines())
    assert (first["alert_id"], second["alert_id"]) == (7, 8)
    assert (first["owner"], first["flow"], first["rule"]) == ("billing", "erp/invoices", "due_on >= issued_on")
    assert first["money"] == {"EUR": "8412.50", "USD": "1200"}
    assert first["next_step"] == ALERT.next_step and first["opened_at"] == "2026-03-01T06:00:00+00:00"
    assert first["key"] == "o2c-alert-7-0"


def test_a_file_that_cannot_be_written_is_no_channel_that_took_it(notify: ModuleType, settings: Settings) -> None:
    (settings.home / "alerts.jsonl").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        notify.tell(settings)(ALERT)


# --- mail ----------------------------------------------------------------------------------------------------------


def test_mail_to_the_owner(
    notify: ModuleType, settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mail(monkeypatch, mail_server, to="team@example.com", owners={"billing": "billing@example.com"})
    assert notify.tell(settings)(ALERT) == "o2c_alert_mail"
    ((to, mail),) = mail_server.mails
    assert to == ["billing@example.com"] and mail["From"] == "o2c@example.com"
    assert mail["X-O2C-Alert"] == "o2c-alert-7-0"
    body = mail.get_body(("html",))
    assert body is not None
    text = body.get_content()
    for fact in ("owner: billing", "EUR 8,412.50, USD 1,200", "due_on &gt;= issued_on", "o2c quarantine list"):
        assert fact in text
    # What a source sends is shown as it is: neither rendered as a template, nor as HTML, nor as a header.
    assert "{{ conn.erp_db.password }} &lt;b&gt;&amp;" in text
    assert mail["Subject"] == ("[o2c mail] 3 records of erp/invoices in quarantine, {{ conn.erp_db.password }} <b>&")


def test_mail_of_an_owner_without_an_address(
    notify: ModuleType, settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mail(monkeypatch, mail_server, to=["a@example.com", "b@example.com"], owners={"treasury": "t@example.com"})
    notify.tell(settings)(ALERT)
    assert mail_server.mails[0][0] == ["a@example.com", "b@example.com"]
    use_mail(monkeypatch, mail_server)
    with pytest.raises(UsageError, match="Nobody is named to receive alerts of billing"):
        notify.tell(settings)(ALERT)


def test_a_mail_server_that_refuses(
    notify: ModuleType, settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mail(monkeypatch, mail_server, to="team@example.com")
    mail_server.refuse = True
    with pytest.raises(smtplib.SMTPDataError):
        notify.tell(settings)(ALERT)
    mail_server.refuse = False
    notify.tell(settings)(ALERT)
    assert len(mail_server.mails) == 1


def test_escalation_goes_past_the_owner(
    notify: ModuleType, settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mail(monkeypatch, mail_server, to="team@example.com", owners={"billing": "billing@example.com"})
    raised = replace(ALERT, level=2)
    assert notify.tell(settings)(raised) == "o2c_alert_mail"
    use_mail(monkeypatch, mail_server, "ESCALATION", to="chief@example.com")
    assert notify.tell(settings)(raised) == "o2c_alert_escalation"
    assert [to for to, _ in mail_server.mails] == [["team@example.com"], ["chief@example.com"]]
    assert mail_server.mails[1][1]["Subject"].startswith("[o2c mail, escalated to level 2] 3 records")


# --- webhook -------------------------------------------------------------------------------------------------------


def use_hook(monkeypatch: pytest.MonkeyPatch, server: HookServer) -> None:
    connect(
        monkeypatch, "PAGE", conn_type="http", host="127.0.0.1", port=server.server_address[1], schema="http",
        password="token-1", extra={"path": "/hooks/o2c"},
    )  # fmt: skip


def test_a_webhook(
    notify: ModuleType, settings: Settings, hook_server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hook(monkeypatch, hook_server)
    page = replace(ALERT, severity="page")
    assert notify.tell(settings)(page) == "o2c_alert_page"
    ((path, headers, body),) = hook_server.posted
    assert path == "/hooks/o2c" and headers["Authorization"] == "Bearer token-1"
    assert headers["Idempotency-Key"] == "o2c-alert-7-0"
    assert body == notify.message(page) and body["money"] == {"EUR": "8412.50", "USD": "1200"}


@pytest.mark.parametrize("status", [302, 401, 500])
def test_a_webhook_that_does_not_take_it(
    notify: ModuleType, settings: Settings, hook_server: HookServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    use_hook(monkeypatch, hook_server)
    hook_server.status = status
    with pytest.raises(O2CError, match=f"answers {status}") as refused:
        notify.tell(settings)(replace(ALERT, severity="page"))
    assert "token-1" not in str(refused.value) and len(hook_server.posted) == 1


def test_a_webhook_that_is_not_there(notify: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "PAGE", conn_type="http", host="127.0.0.1", port=1, password="token-1")
    with pytest.raises(O2CError, match="cannot be reached: ConnectionError") as refused:
        notify.tell(settings)(replace(ALERT, severity="page"))
    assert "token-1" not in str(refused.value)


def test_a_connection_that_is_no_channel(
    notify: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "MAIL", conn_type="sftp", host="127.0.0.1")
    with pytest.raises(UsageError, match="No channel is of type 'sftp'"):
        notify.tell(settings)(ALERT)


# --- from the data to the channel ----------------------------------------------------------------------------------


def test_from_quarantine_to_the_pager(
    notify: ModuleType, warehouse: Any, hook_server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.loads.watch import watch

    use_hook(monkeypatch, hook_server)
    columns = ("payout_id", "entity_code", "initiated_at", "arrival_on", "amount", "currency_code")
    rule = {"rule": "amount > 0", "on_fail": "quarantine", "reason": "A payout pays."}
    path = warehouse.flows.csv("psp/payouts", "processor_payout", columns, validation=[rule]).path
    path.write_text(path.read_text().replace("alert: mail", "alert: page"))
    flow = warehouse.flows.load("psp/payouts")
    warehouse.flows.put("psp/payouts.csv", ",".join(columns) + "\nP1,DE01,2026-02-27T10:00:00Z,2026-03-01,-9.90,EUR\n")
    warehouse.load(flow)
    moment = warehouse.value("select max(published_at) from ops.load_ledger")
    hook_server.status = 503
    assert watch(warehouse.settings, {flow.name: flow}, moment, notify.tell(warehouse.settings)).untold == 1
    hook_server.status = 200
    assert watch(warehouse.settings, {flow.name: flow}, moment, notify.tell(warehouse.settings)).told == 1
    assert watch(warehouse.settings, {flow.name: flow}, moment, notify.tell(warehouse.settings)).told == 0
    assert [body["money"] for _, _, body in hook_server.posted] == [{"EUR": "-9.90"}] * 2
    assert warehouse.rows("select event, detail from ops.alert_event order by event_id")[1:] == [
        ("not_notified", "The receiver answers 503."), ("notified", "o2c_alert_page"),
    ]  # fmt: skip
