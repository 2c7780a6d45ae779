"""The checks of the watch: each reads the warehouse and returns what does not hold, as conditions.

A new check is a function here and a line in ``CHECKS``; its name is the first part of what makes an alert one alert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from o2c.warehouse import sync_info
from o2c.warehouse.alerts import Condition
from o2c.warehouse.session import trusted

Check = Callable[[psycopg.Connection, datetime], list[Condition]]

# Who answers for what is not one flow's.
FIGURES_OWNER = "finance_systems"
_LONGEST_BUILD = timedelta(hours=2)
_LONGEST_WITHOUT_SCAN = timedelta(days=2)


def overdue(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """Flows that have published nothing for longer than their freshness: whatever the cause, a killed task too."""
    return [
        Condition(
            **_of_flow("overdue", row),
            rule=f"publishes every {span(row['freshness'])}",
            what=f"{row['flow']} is overdue: {_last(row, moment)}, promised every {span(row['freshness'])}."
            + _under_way(row),
            next_step=f"Run './o2c status {row['flow']}', then the DAG {row['dag_id']}.",
            money=_of_attempt(connection, row["last_attempt_load_id"], row["last_attempt_state"]),
        )
        for row in sync_info.flows(connection, moment)
        if row["is_overdue"]
    ]


def held_back(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """Flows whose newest attempts failed or were stopped, once retrying cannot be what mends them."""
    return [
        Condition(
            **_of_flow("held_back", row),
            rule=", ".join(_stopping_rules(connection, row["flow"])) or f"load {row['last_attempt_load_id']} publishes",
            what=f"{row['flow']} is held back: {what_of(row['last_error'])}",
            next_step=next_step_of(row["last_error"]) or f"Run './o2c status {row['flow']}'.",
            money=_of_attempt(connection, row["last_attempt_load_id"], row["last_attempt_state"]),
        )
        for row in sync_info.flows(connection, moment)
        if row["held_since"] and moment - row["held_since"] >= _retry_wait(connection, row)
    ]


def quarantine(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """Flows with more money or older records in quarantine than their contract tolerates."""
    rows = _ask(
        connection,
        "select f.flow, f.entity, f.owner, f.alert, f.tolerated_amounts, f.tolerated_age,"
        " min(q.quarantined_at) as oldest, array_remove(array_agg(distinct r.rule order by r.rule), null) as rules,"
        " count(distinct q.record_id) as records from quarantine.record as q inner join ops.flow as f using (flow)"
        " left join lateral unnest(q.rules) as r (rule) on true where q.state = 'open' and f.retired_at is null"
        " group by f.flow",
    )
    money: dict[str, dict[str, Decimal]] = {}
    for entry in sync_info.quarantine(connection):
        if entry["amount"] is not None:
            by = money.setdefault(entry["flow"], {})
            by[entry["currency_code"]] = by.get(entry["currency_code"], Decimal(0)) + entry["amount"]
    return [
        Condition(
            **_of_flow("quarantine", row),
            rule=", ".join(row["rules"]),
            what=f"{row['records']} record{'s' * (row['records'] != 1)} of {row['flow']} in quarantine,"
            f" the oldest since {row['oldest']:%Y-%m-%d %H:%M} UTC.",
            next_step=f"Run './o2c quarantine list {row['flow']}'; mend the source, release or reject.",
            money=money.get(row["flow"], {}),
        )
        for row in rows
        if _exceeds(row, money.get(row["flow"], {}), moment)
    ]


def tie_outs(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """Entities whose sub-ledger and control account differ in the marts that stand."""
    if not _exists(connection, "marts_receivables.rpt_control_account_tie_out"):
        return []
    rows = _ask(
        connection,
        "select distinct on (entity_code, currency_code) entity_code, currency_code, as_of_date as as_of,"
        " difference_amount as amount from marts_receivables.rpt_control_account_tie_out where not is_tied_out"
        " order by entity_code, currency_code, as_of_date desc",
    )
    return [
        Condition(
            check="tie_outs",
            subject=f"{row['entity_code']} {row['currency_code']}",
            owner=FIGURES_OWNER,
            severity="page",
            rule="sub-ledger = control account",
            what=f"Sub-ledger and control account of {row['entity_code']} differ, last on {row['as_of']}.",
            next_step="Read marts_receivables.rpt_control_account_tie_out and the log of build_warehouse.",
            money={row["currency_code"]: row["amount"]},
        )
        for row in rows
    ]


def builds(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """The newest build of the marts failed, or has been running for longer than any build takes."""
    rows = _ask(
        connection,
        "select build_id, as_of, started_at, is_success from ops.build where started_at <= %s"
        " order by build_id desc limit 1",
        moment,
    )
    return [
        Condition(
            check="builds",
            subject="marts",
            owner=FIGURES_OWNER,
            severity="page",
            rule="the newest build succeeds",
            what=f"The build of the marts as of {row['as_of']} "
            + (
                "failed."
                if row["is_success"] is False
                else f"has not ended; it began at {row['started_at']:%F %T} UTC."
            ),
            next_step="Read the log of build_warehouse; the marts of the last good build stay readable.",
        )
        for row in rows
        if row["is_success"] is False or (row["is_success"] is None and moment - row["started_at"] > _LONGEST_BUILD)
    ]


def deletes(connection: psycopg.Connection, moment: datetime) -> list[Condition]:
    """Flows whose newest scan for deletes failed or was stopped, or lies too far back."""
    rows = _ask(
        connection,
        "select f.flow, f.entity, f.owner, f.alert, l.state, l.error, l.started_at from ops.flow as f"
        " inner join lateral (select * from ops.load as s where s.flow = f.flow and s.kind = 'reconcile'"
        " and s.started_at <= %s order by s.started_at desc limit 1) as l on true"
        " where f.retired_at is null order by f.flow",
        moment,
    )
    return [
        Condition(
            **_of_flow("deletes", row),
            rule="deletes are looked for once a day",
            what=f"{row['flow']}: "
            + (what_of(row["error"]) if row["error"] else f"not compared since {row['started_at']:%F %T} UTC."),
            next_step=next_step_of(row["error"]) or f"Run './o2c reconcile {row['flow']} --dry-run'.",
        )
        for row in rows
        if row["state"] in ("failed", "stopped") or moment - row["started_at"] > _LONGEST_WITHOUT_SCAN
    ]


CHECKS: Mapping[str, Check] = {
    "overdue": overdue,
    "held_back": held_back,
    "quarantine": quarantine,
    "tie_outs": tie_outs,
    "builds": builds,
    "deletes": deletes,
}


def what_of(error: str | None) -> str:
    """The first line of a load's error: what happened."""
    return ((error or "").splitlines() or ["no reason was noted"])[0]


def next_step_of(error: str | None) -> str:
    """What a load's error says to do; empty when it says nothing."""
    steps = [line.strip().removeprefix("next:").strip() for line in (error or "").splitlines() if "next:" in line]
    return steps[-1] if steps else ""


def span(length: timedelta, units: int = 2) -> str:
    """``2 d 3 h``, ``1 h 20 min``, ``45 min``, ``10 s``: the largest units, whole."""
    seconds = int(length.total_seconds())
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size and (unit != "s" or not parts):
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:units]) or "0 s"


def _of_flow(check: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "check": check,
        "subject": row["flow"],
        "flow": row["flow"],
        "entity": row["entity"],
        "owner": row["owner"],
        "severity": row["alert"],
    }


def _last(row: Mapping[str, Any], moment: datetime) -> str:
    if row["last_success_at"] is None:
        return "it has never published"
    return f"last published {row['last_success_at']:%Y-%m-%d %H:%M} UTC, {span(moment - row['last_success_at'])} ago"


def _under_way(row: Mapping[str, Any]) -> str:
    if row["last_attempt_state"] not in ("extracting", "staged", "gated"):
        return ""
    return (
        f" Load {row['last_attempt_load_id']} is {row['last_attempt_state']} since {row['last_attempt_at']:%F %T} UTC."
    )


def _of_attempt(connection: psycopg.Connection, load_id: str | None, state: str | None) -> dict[str, Decimal]:
    """Money that an unpublished attempt has read and that waits with it; nothing when it never got so far."""
    if load_id is None or state == "published":
        return {}
    rows = _ask(
        connection,
        "select key as code, value::numeric as amount from ops.load, jsonb_each_text(manifest -> 'amounts')"
        " where load_id = %s and jsonb_typeof(manifest -> 'amounts') = 'object' order by key",
        load_id,
    )
    return {row["code"]: row["amount"] for row in rows}


def _stopping_rules(connection: psycopg.Connection, flow: str) -> list[str]:
    rows = _ask(
        connection,
        "select rule from ops.gate_result where not is_success and on_fail = 'stop' and load_id ="
        " (select load_id from ops.load where flow = %s order by started_at desc limit 1) order by rule",
        flow,
    )
    return [row["rule"] for row in rows]


def _retry_wait(connection: psycopg.Connection, row: Mapping[str, Any]) -> timedelta:
    # What a gate stopped is not tried again by itself.
    if row["last_attempt_state"] == "stopped":
        return timedelta(0)
    (found,) = _ask(connection, "select retry_wait from ops.flow where flow = %s", row["flow"])
    return timedelta(seconds=found["retry_wait"].total_seconds())


def _exceeds(row: Mapping[str, Any], money: Mapping[str, Decimal], moment: datetime) -> bool:
    tolerated, age = row["tolerated_amounts"], row["tolerated_age"]
    if not tolerated and age is None:
        return True
    if age is not None and moment - row["oldest"] > age:
        return True
    return any(abs(amount) > Decimal(tolerated.get(code, 0)) for code, amount in money.items()) if tolerated else False


def _ended(build: Mapping[str, Any]) -> str:
    return "failed" if build["is_success"] is False else f"has not ended; it began {build['started_at']:%F %T} UTC"


def _exists(connection: psycopg.Connection, relation: str) -> bool:
    (row,) = _ask(connection, "select to_regclass(%s) is not null as found", relation)
    return bool(row["found"])


def _ask(connection: psycopg.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(trusted(query), values or None).fetchall()
