"""Group roles with the least rights for each kind of work; people and services are made members of them.

| role | may |
|---|---|
| ``o2c_loader`` | land, stage and publish: add to ``raw``, quarantine, ledger and chain, move cursors |
| ``o2c_gate`` | read what is staged, note what the gate saw |
| ``o2c_transformer`` | read ``raw``, make schemas of its own for the models |
| ``o2c_reader`` | read the marts |
| ``o2c_auditor`` | read ``ops``, and of quarantine all but the records themselves |
| ``o2c_admin`` | all of this together |

None of them may change or remove what is recorded (see :mod:`o2c.warehouse.guards` for those who own the tables).
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

ROLES = ("o2c_loader", "o2c_gate", "o2c_transformer", "o2c_reader", "o2c_auditor", "o2c_admin")
CREATE_ROLES = (
    *(f"create role {role} nologin" for role in ROLES),
    f"grant {', '.join(ROLES[:-1])} to o2c_admin",
)
"""For an administrator, where the user of the warehouse may not create roles."""

# Role, rights, and the table; a table that another version of the schema does not have is passed over.
_TABLES = (
    ("o2c_loader", "select, insert, update", ("ops.fence", "ops.load", "ops.watermark", "ops.flow")),
    ("o2c_loader", "select, insert", ("ops.load_ledger", "ops.load_ledger_total", "ops.contract_version")),
    ("o2c_loader", "select, insert", ("ops.schema_change", "ops.key_scan", "quarantine.record", "quarantine.decision")),
    ("o2c_loader", "select, insert", ("quarantine.card_number_hit",)),
    (
        "o2c_loader",
        "select, insert, update (sha256, bytes, load_id, outcome, related_load_id, related_file_name, last_seen_at)",
        ("ops.file_delivery",),
    ),
    ("o2c_loader", "select", ("ops.gate_result",)),
    ("o2c_loader", "update (state, closed_at, closed_by_load_id)", ("quarantine.record",)),
    ("o2c_gate", "select, update (state, error, manifest, cursor_to, finished_at)", ("ops.load",)),
    ("o2c_gate", "select, insert", ("ops.gate_result", "ops.contract_version")),
    ("o2c_transformer", "select, insert, update", ("ops.build",)),
    ("o2c_auditor", "select", ("quarantine.decision", "quarantine.card_number_hit")),
    # What tells of the record, not of whom it is about: neither its key nor its payload.
    (
        "o2c_auditor",
        "select (record_id, load_id, flow, entity, source_system, owner, rules, reason, amount, currency_code,"
        " landing_file, landing_row, row_hash, quarantined_at, state, closed_at, closed_by_load_id)",
        ("quarantine.record",),
    ),
    # Adding an event gives back the new head of the chain.
    *((role, "insert, select (sequence, hash)", ("ops.evidence",)) for role in ("o2c_loader", "o2c_gate")),
)
_SCHEMAS = (
    "usage on schema raw to o2c_loader, o2c_transformer",
    "usage on schema quarantine to o2c_loader, o2c_auditor",
    "usage on schema ops to o2c_loader, o2c_gate, o2c_transformer, o2c_auditor",
    "usage on schema landing to o2c_loader, o2c_gate",
    "create on schema landing to o2c_loader",
    "usage on sequence ops.load_number to o2c_loader",
    "select, insert on all tables in schema raw to o2c_loader",
    "select on all tables in schema raw to o2c_transformer",
    "select on all tables in schema ops to o2c_auditor",
)
_DATABASE = (
    ("connect", ROLES),
    ("temporary", ("o2c_loader",)),
    ("create", ("o2c_transformer",)),
)


def ensure_roles(connection: psycopg.Connection) -> list[str]:
    """Create the roles that are missing and give each exactly its rights; safe to repeat, in the caller's transaction.

    Returns:
        The roles that are missing because the user may not create any; nothing is granted then.
    """
    if missing := create_roles(connection):
        return missing
    for statement in _grants(connection):
        connection.execute(statement)
    return []


def share_marts(connection: psycopg.Connection) -> None:
    """Let readers read the marts, also those that the next build will swap in; nothing when there are no roles."""
    if missing_roles(connection):
        return
    for (schema,) in connection.execute("select nspname from pg_namespace where nspname ~ '^marts'").fetchall():
        for grant in (
            "grant usage on schema {schema} to o2c_reader, o2c_auditor",
            "grant select on all tables in schema {schema} to o2c_reader, o2c_auditor",
            "alter default privileges in schema {schema} grant select on tables to o2c_reader, o2c_auditor",
        ):
            connection.execute(sql.SQL(grant).format(schema=sql.Identifier(schema)))


def missing_roles(connection: psycopg.Connection) -> list[str]:
    """The group roles that this server does not have."""
    rows = connection.execute("select rolname from pg_roles where rolname = any (%s)", [list(ROLES)])
    return sorted(set(ROLES) - {name for (name,) in rows})


def create_roles(connection: psycopg.Connection) -> list[str]:
    """Create the roles that are missing; returns them when the user may not.

    Roles belong to the whole server: another warehouse may be creating them at this moment.
    """
    missing = missing_roles(connection)
    if not missing:
        return []
    try:
        with connection.transaction():
            for role in ROLES:
                if role in missing:
                    _create_role(connection, role)
            if "o2c_admin" in missing:
                connection.execute(sql.SQL(CREATE_ROLES[-1]))
    except psycopg.errors.InsufficientPrivilege:
        return missing
    return []


def _create_role(connection: psycopg.Connection, role: str) -> None:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return


def _grants(connection: psycopg.Connection) -> Iterator[sql.SQL | sql.Composed]:
    everybody = sql.SQL(", ").join(map(sql.Identifier, ROLES))
    for schema in ("raw", "ops", "quarantine"):
        yield sql.SQL("revoke all on all tables in schema {} from {}").format(sql.Identifier(schema), everybody)
    database = sql.Identifier(connection.info.dbname)
    for right, roles in _DATABASE:
        names = sql.SQL(", ").join(map(sql.Identifier, roles))
        yield sql.SQL("grant {} on database {} to {}").format(sql.SQL(right), database, names)
    for statement in _SCHEMAS:
        yield sql.SQL("grant " + statement)
    found = {name for (name,) in connection.execute("select schemaname || '.' || tablename from pg_tables")}
    for role, rights, tables in _TABLES:
        for table in found.intersection(tables):
            place = sql.Identifier(*table.split("."))
            yield sql.SQL("grant {} on {} to {}").format(sql.SQL(rights), place, sql.Identifier(role))
    # What the warehouse's own user stages can be gated by others; a loader of another name grants it likewise.
    yield sql.SQL("alter default privileges in schema landing grant select on tables to o2c_gate")
