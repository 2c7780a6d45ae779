"""Does every load still close? Ledger against raw, against the quarantine, and against itself, in rows and in money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from o2c.contracts.entity import Entity

_LEDGER_ROWS = """
select load_id, flow, 'rows: source is not published + quarantined + duplicates',
    source_rows, published_rows + quarantined_rows + duplicate_rows
from ops.load_ledger where source_rows <> published_rows + quarantined_rows + duplicate_rows
"""
_LEDGER_MONEY = """
select load_id, l.flow, currency_code || ': source is not published + quarantined + duplicates',
    source_amount, published_amount + quarantined_amount + duplicate_amount
from ops.load_ledger_total inner join ops.load_ledger as l using (load_id)
where source_amount <> published_amount + quarantined_amount + duplicate_amount
"""
_RECORDS = """
select load_id, flow, 'rows in quarantine: ledger and records', quarantined_rows,
    open_rows + superseded_rows + released_rows + rejected_rows
from ops.quarantine_balance where not closes
"""
_RECORD_MONEY = """
select load_id, flow, currency_code || ' in quarantine: ledger and records', quarantined_amount,
    open_amount + superseded_amount + released_amount + rejected_amount
from ops.quarantine_balance_total left join ops.load_ledger using (load_id)
where not ops.quarantine_balance_total.closes
"""
# A record that a person closed has a decision of that kind, and only then; a released one has its load.
_DECISIONS = """
select r.load_id, r.flow, format('record %s: %s, decided', record_id, r.state), 1, count(d.decision_id)
from quarantine.record as r
left join quarantine.decision as d using (record_id)
group by r.record_id
having (r.state in ('released', 'rejected')) <> (count(*) filter (where d.decision in ('release', 'reject')) = 1)
    or (r.state = 'released'
        and r.closed_by_load_id is distinct from max(d.load_id) filter (where d.decision = 'release'))
"""
_RAW = """
with found as (
    select _load_id as load_id, {currency} as currency_code, count(*) as rows, sum({amount}) as amount
    from {raw} group by 1, 2
)
select coalesce(l.load_id, f.load_id), l.flow, 'rows published: ledger and raw.' || {entity},
    coalesce(l.published_rows, 0), coalesce(f.rows, 0)
from (select * from ops.load_ledger where entity = {entity}) as l
full join (select load_id, sum(rows) as rows from found group by 1) as f on f.load_id = l.load_id
where coalesce(l.published_rows, 0) <> coalesce(f.rows, 0)
union all
select coalesce(t.load_id, f.load_id), t.flow,
    coalesce(t.currency_code, f.currency_code) || ' published: ledger and raw.' || {entity},
    coalesce(t.published_amount, 0), coalesce(f.amount, 0)
from (
    select t.*, l.flow from ops.load_ledger_total as t inner join ops.load_ledger as l using (load_id)
    where l.entity = {entity}
) as t
full join found as f on f.load_id = t.load_id and f.currency_code = t.currency_code
where coalesce(t.published_amount, 0) <> coalesce(f.amount, 0)
"""


@dataclass(frozen=True)
class Imbalance:
    """One statement about one load that does not hold: what the ledger says, and what was found."""

    load_id: str
    flow: str
    what: str
    ledger: Any
    found: Any


def imbalances(connection: psycopg.Connection, entities: Iterable[Entity]) -> list[Imbalance]:
    """Everything that does not close; empty when all does. Every raw table is scanned once."""
    queries: list[Any] = [_LEDGER_ROWS, _LEDGER_MONEY, _RECORDS, _RECORD_MONEY, _DECISIONS]
    queries += [_of_raw(entity) for entity in entities]
    rows = [row for query in queries for row in connection.execute(query).fetchall()]
    return [Imbalance(*row) for row in sorted(rows, key=lambda row: (row[0], row[2]))]


def _of_raw(entity: Entity) -> sql.Composed:
    amount, currency = sql.Composed([sql.SQL("0::numeric")]), sql.Composed([sql.SQL("''::text")])
    if entity.amount and entity.currency:
        amount = sql.SQL("coalesce({}, 0)").format(sql.Identifier(entity.amount))
        currency = sql.SQL("coalesce({}, '')").format(sql.Identifier(entity.currency))
    return sql.SQL(_RAW).format(
        currency=currency,
        amount=amount,
        raw=sql.Identifier("raw", entity.name),
        entity=sql.Literal(entity.name),
    )
