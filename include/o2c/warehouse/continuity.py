"""Continuity: records that follow each other per account, such as bank statements, leave no gap.

An entity says so with ``continuity: {account, number, opening, closing, date}``. Each record's number is one more than
its predecessor's (or 1 again in a later year), and it opens with what its predecessor closed with. The records of a
load are set among those that are published; one that comes again takes its own old place.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.errors import GateStopped
from o2c.warehouse.ledger import Load
from o2c.warehouse.mapping_sql import literal
from o2c.warehouse.session import trusted

RULE = "continuity"
PREDICATE = "(number = previous number + 1 or number = 1 in a later year) and opening = previous closing"
_BREAKS = """
with staged as (
    select distinct on (_key_hash) {columns}, _key_hash, true as is_new
    from {stage} as s where s._repeat is distinct from 'duplicate' order by _key_hash, _row desc
),
known as (
    select * from (
        select distinct on (_key_hash) {columns}, _key_hash, false as is_new, _deleted from {raw}
        where source_system = {system} order by _key_hash, _published_at desc, _load_id desc
    ) as newest where not _deleted and _key_hash not in (select _key_hash from staged)
),
chain as (
    select name, account, currency, number, opening, is_new,
        lag(is_new) over w as after_new, lag(name) over w as before, lag(number) over w as before_number,
        lag(closing) over w as before_closing,
        extract(year from closed_on) > extract(year from lag(closed_on) over w) as is_later_year
    from (
        select {names}, is_new from staged union all select {names}, is_new from known
    ) as both_sides window w as (partition by account, currency order by closed_on, number, name)
)
select name, account, currency, number, opening, before, before_number, before_closing, count(*) over () as breaks
from chain where before is not null and (is_new or after_new) and not (
    (number = before_number + 1 or (number = 1 and is_later_year)) and opening = before_closing
)
order by account, number limit 1
"""


@dataclass(frozen=True)
class _Break:
    name: str
    account: str
    currency: str
    number: int
    opening: Decimal
    before: str
    before_number: int
    before_closing: Decimal
    breaks: int


def check(connection: psycopg.Connection, flow: Flow, load: Load) -> tuple[int, GateStopped | None]:
    """How many records of the load do not follow their predecessor, and the error that names the first of them."""
    row = connection.execute(_query(flow, load)).fetchone()
    if row is None:
        return 0, None
    found = _Break(*row)
    return found.breaks, GateStopped(
        f"Statement '{found.name}' of account {found.account} does not follow '{found.before}': expected number "
        f"{found.before_number + 1} opening with {found.before_closing} {found.currency}, found number "
        f"{found.number} opening with {found.opening} {found.currency}.",
        where=f"{flow.name}, load {load.load_id}",
        next_step="Ask the bank for the statement that is missing or corrected, and run the flow again; "
        "nothing was published.",
    )


def _query(flow: Flow, load: Load) -> sql.Composed:
    spec: dict[str, Any] = dict(flow.entity.continuity or {})
    columns = {
        "name": "concat_ws('/', " + ", ".join(f'"{name}"::text' for name in flow.entity.key) + ")",
        "account": f'"{spec["account"]}"',
        "currency": f'"{flow.entity.currency}"' if flow.entity.currency else "''",
        "number": f'"{spec["number"]}"',
        "opening": f'"{spec["opening"]}"',
        "closing": f'"{spec["closing"]}"',
        "closed_on": f'"{spec["date"]}"',
    }
    return sql.SQL(_BREAKS).format(
        columns=trusted(", ".join(f"{text} as {name}" for name, text in columns.items())),
        names=trusted(", ".join(columns)),
        stage=sql.Identifier("landing", load.stage_table),
        raw=sql.Identifier("raw", flow.entity.name),
        system=trusted(literal(flow.system)),
    )
