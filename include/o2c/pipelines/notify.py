"""Channels for alerts, as Airflow notifiers, chosen by Airflow connections.

| connection | tells |
|---|---|
| ``o2c_alert_page``, ``o2c_alert_mail``, ``o2c_alert_log`` | alerts of that severity |
| ``o2c_alert_escalation`` | escalated alerts; unset: the channel of their severity |

A connection of type ``smtp`` sends mail (extra: ``from_email``, ``to``, and ``owners`` with addresses by owner), one of
type ``http`` posts JSON (host, port, schema, extra ``path``; the password is sent as bearer token). Without a
connection an alert goes to the log and to ``alerts.jsonl`` in ``O2C_HOME``.
"""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

import requests
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier

from o2c.connections import Connection
from o2c.errors import O2CError, UsageError
from o2c.loads.watch import Tell
from o2c.pipelines.connections import resolve
from o2c.settings import Settings
from o2c.warehouse.alerts import Alert

_ESCALATION = "o2c_alert_escalation"
_TIMEOUT_SECONDS = 10
_PORTS = {"http": 80, "https": 443}


class FileNotifier(BaseNotifier):
    """Appends the alert as one line of JSON to a file, and logs it."""

    def __init__(self, alert: Alert, path: Path) -> None:
        super().__init__()
        self.alert, self.path = alert, path

    def notify(self, context: Any) -> None:
        """Write the line in one piece and bring it to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message(self.alert), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.log.warning("%s\n%s", subject(self.alert), text(self.alert))


class WebhookNotifier(BaseNotifier):
    """Posts the alert as JSON; any answer other than 2xx means that it was not taken."""

    def __init__(self, alert: Alert, connection: Connection) -> None:
        super().__init__()
        self.alert, self.connection = alert, connection

    def notify(self, context: Any) -> None:
        """Post once; a receiver that knows ``Idempotency-Key`` can drop a second copy.

        Raises:
            O2CError: the receiver cannot be reached or does not take it.
        """
        where = self.connection.conn_id
        headers = {"Idempotency-Key": self.alert.key}
        if self.connection.password:
            headers["Authorization"] = f"Bearer {self.connection.password}"
        try:
            answer = requests.post(
                _address(self.connection),
                json=message(self.alert),
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
                # A redirect would turn the POST into a GET, and could carry the token elsewhere.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise O2CError(f"The receiver cannot be reached: {type(error).__name__}.", where=where) from None
        if not 200 <= answer.status_code < 300:
            raise O2CError(f"The receiver answers {answer.status_code}.", where=where)


def tell(settings: Settings) -> Tell:
    """What tells an alert through the channel of its severity and level; returns the channel's name."""

    def through_channel(alert: Alert) -> str:
        name, notifier = channel(settings, alert)
        # Not called like a function: that would render the texts as templates and swallow what goes wrong.
        notifier.notify({})
        return name

    return through_channel


def channel(settings: Settings, alert: Alert) -> tuple[str, BaseNotifier]:
    """The notifier of an alert with its name: a connection's id, or the file's.

    Raises:
        UsageError: the connection is neither smtp nor http, or lacks an address.
    """
    names = [f"o2c_alert_{alert.severity}"]
    if alert.level:
        names.insert(0, _ESCALATION)
    for name in names:
        try:
            connection = resolve(name)
        except UsageError:
            continue
        return name, _notifier(alert, connection)
    path = settings.home / "alerts.jsonl"
    return path.name, FileNotifier(alert, path)


def message(alert: Alert) -> dict[str, Any]:
    """The alert for programs: amounts are exact texts by currency, times are UTC."""
    return {
        "key": alert.key,
        "alert_id": alert.alert_id,
        "severity": alert.severity,
        "level": alert.level,
        "owner": alert.owner,
        "flow": alert.flow,
        "entity": alert.entity,
        "check": alert.check_name,
        "rule": alert.rule,
        "what": alert.what,
        "money": {code: f"{amount:f}" for code, amount in sorted(alert.money.items())},
        "next_step": alert.next_step,
        "opened_at": alert.opened_at.isoformat(),
        "text": f"{subject(alert)}\n{text(alert)}",
    }


def subject(alert: Alert) -> str:
    """One line: severity, level when escalated, and what happened."""
    raised = f", escalated to level {alert.level}" if alert.level else ""
    return " ".join(f"[o2c {alert.severity}{raised}] {alert.what}".split())


def text(alert: Alert) -> str:
    """The alert for people, a fact per line."""
    money = ", ".join(f"{code or 'no currency'} {amount:,f}" for code, amount in sorted(alert.money.items()))
    facts = {
        "flow": alert.flow,
        "owner": alert.owner,
        "rule": alert.rule,
        "money": money,
        "since": f"{alert.opened_at:%Y-%m-%d %H:%M} UTC",
        "next": alert.next_step,
        "alert": f"{alert.alert_id}; take it with: o2c alerts acknowledge {alert.alert_id} --by NAME",
    }
    return "\n".join(f"{label}: {fact}" for label, fact in facts.items() if fact)


def _notifier(alert: Alert, connection: Connection) -> BaseNotifier:
    if connection.conn_type == "smtp":
        body = html.escape(f"{alert.what}\n\n{text(alert)}").replace("\n", "<br>\n")
        return SmtpNotifier(
            smtp_conn_id=connection.conn_id,
            from_email=connection.extra.get("from_email"),
            to=_recipients(alert, connection),
            subject=subject(alert),
            html_content=body,
            custom_headers={"X-O2C-Alert": alert.key},
        )
    if connection.conn_type in _PORTS:
        return WebhookNotifier(alert, connection)
    raise UsageError(
        f"No channel is of type '{connection.conn_type}'.",
        where=connection.conn_id,
        next_step="Make the connection one of type smtp, http or https.",
    )


def _recipients(alert: Alert, connection: Connection) -> Any:
    owners = connection.extra.get("owners") or {}
    # Escalated alerts go past the owner, to whom the connection names.
    to = None if alert.level else owners.get(alert.owner)
    if found := to or connection.extra.get("to"):
        return found
    raise UsageError(
        f"Nobody is named to receive alerts of {alert.owner}.",
        where=connection.conn_id,
        next_step="Name an address in the connection's extra, key 'to'.",
    )


def _address(connection: Connection) -> str:
    scheme = connection.schema or connection.conn_type
    port = connection.port or _PORTS.get(scheme, 443)
    path = str(connection.extra.get("path", "/"))
    return f"{scheme}://{connection.host}:{port}/{path.removeprefix('/')}"
