"""Loads that never came to their end: a newer load of the flow takes over and clears away what they left."""

from __future__ import annotations

import psycopg

from o2c.warehouse.ledger import Load
from o2c.warehouse.stage import drop_landing

_LEFT_BEHIND = """
select load_id, flow, fence
from (select *, left(replace(flow, '/', '__'), 36) || '__' || lower(load_id) as stem from ops.load) as l
where flow = %s and fence < %s and state <> 'published' and exists (
    select from pg_class where relnamespace = 'landing'::regnamespace
    and relname in (stem, stem || '__typed', stem || '__marks', stem || '__landed')
)
"""


def take_over(connection: psycopg.Connection, load: Load) -> list[str]:
    """Mark the flow's unfinished loads as superseded by ``load`` and drop what they staged.

    What somebody still holds is left for the next load: a stopped process must not stop the ones after it.

    Returns:
        The ids of the loads that are superseded now.
    """
    rows = connection.execute(
        "update ops.load set state = 'superseded', finished_at = clock_timestamp(),"
        " error = format('Load %%s of the flow has taken over.', %s::text)"
        " where load_id in (select load_id from ops.load where flow = %s and fence < %s"
        " and state in ('extracting', 'staged', 'gated') for update skip locked) returning load_id",
        [load.load_id, load.flow, load.fence],
    ).fetchall()
    for load_id, flow, fence in connection.execute(_LEFT_BEHIND, [load.flow, load.fence]).fetchall():
        _drop(connection, Load(load_id, flow, fence, None, {}))
    return [load_id for (load_id,) in rows]


def _drop(connection: psycopg.Connection, load: Load) -> None:
    try:
        with connection.transaction():
            connection.execute("set local lock_timeout = '500ms'")
            drop_landing(connection, load)
    except psycopg.errors.LockNotAvailable:
        return
