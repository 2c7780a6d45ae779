"""Guards: triggers that refuse to change what is recorded, whoever asks, the owner included."""

from __future__ import annotations

import re

import psycopg

# Tables that only grow, and the columns of theirs that may change all the same, as a regular expression.
APPEND_ONLY: dict[str, str | None] = {
    "ops.evidence": None,
    "ops.load_ledger": None,
    "ops.load_ledger_total": None,
    "ops.gate_result": None,
    "ops.contract_version": None,
    # What a file was when it was last taken in; every earlier state is in the ledger's manifests and in the chain.
    "ops.file_delivery": "^(sha256|bytes|load_id|outcome|related_.*|last_seen_at)$",
    "ops.schema_change": None,
    "ops.key_scan": None,
    "ops.alert_event": None,
    "quarantine.record": "^(state|closed_.*)$",
    "quarantine.decision": None,
    "quarantine.card_number_hit": None,
}
_GUARD = "keep_as_recorded"
# One row per table: its columns that are kept (none: all), and those the guard keeps now.
_STATE = """
select n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), array(
    select a.attname::text from pg_catalog.pg_attribute as a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1
), t.tgenabled = 'A', array(
    select a.attname::text from pg_catalog.pg_attribute as a where a.attrelid = c.oid and a.attnum = any (t.tgattr)
    order by 1
)
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join pg_catalog.pg_trigger as t on t.tgrelid = c.oid and t.tgname = %(guard)s
where c.relkind = 'r' and (n.nspname = 'raw' or n.nspname || '.' || c.relname = any (%(tables)s))
order by 1
"""


def ensure_guards(connection: psycopg.Connection) -> list[str]:
    """Guard every table of ``raw`` and of :data:`APPEND_ONLY` that exists; returns those that were not, or not fully.

    Run it after migrations: a column that is new is kept unless it is named above.
    """
    done = []
    for name, quoted, present, is_on, guarded in connection.execute(
        _STATE, {"guard": _GUARD, "tables": list(APPEND_ONLY)}
    ).fetchall():
        changing = APPEND_ONLY.get(name)
        kept = [column for column in present if not re.match(changing, column)] if changing else []
        if not is_on or set(guarded) != set(kept):
            columns = ", ".join(f'"{column}"' for column in kept) or None
            connection.execute("select ops.guard(%s::regclass, %s)", [quoted, columns])
            done.append(name)
    return done
