"""Where the loads of a run stand, read from the warehouse: tasks hand over nothing but a run id."""

from __future__ import annotations

from collections.abc import Sequence

from o2c.contracts.flow import Flow
from o2c.errors import GateStopped
from o2c.loads.extract import Extracted
from o2c.settings import Settings
from o2c.warehouse.session import connect


def loads_of_run(settings: Settings, run_id: str, source: str, state: str) -> list[Extracted]:
    """The newest load of each flow of ``source`` in this run, where it is in ``state``."""
    with connect(settings) as connection:
        rows = connection.execute(
            "select load_id, flow, rows from (select distinct on (flow) load_id, flow, state,"
            " coalesce((manifest ->> 'rows')::bigint, 0) as rows from ops.load"
            " where run_id = %s and source_group = %s order by flow, fence desc) as newest"
            " where state = %s order by flow",
            [run_id, source, state],
        ).fetchall()
    return [Extracted(*row) for row in rows]


def unbuilt_rows(settings: Settings, source: str) -> int:
    """Rows of ``source`` that were published since the last build of the marts began.

    Not only those of one run: an acknowledgement may get lost, and with it the run that would have told of them.
    """
    with connect(settings) as connection:
        row = connection.execute(
            "select coalesce(sum(published_rows), 0)::bigint from ops.load_ledger where source_group = %s"
            " and published_at >= coalesce((select max(started_at) from ops.build"
            " where is_success is distinct from false), '-infinity')",
            [source],
        ).fetchone()
    return int(row[0]) if row else 0


def held_back(settings: Settings, run_id: str, flows: Sequence[Flow]) -> None:
    """Check that every flow published a load in this run, or left that to a newer load of another run.

    Raises:
        GateStopped: naming each flow that did not, and why.
    """
    with connect(settings) as connection:
        rows = connection.execute(
            "select distinct on (flow) flow, state, error from ops.load where run_id = %s order by flow, fence desc",
            [run_id],
        ).fetchall()
    found = {flow: (state, error) for flow, state, error in rows}
    missing = [flow.name for flow in flows if found.get(flow.name, ("", ""))[0] not in ("published", "superseded")]
    if missing:
        reasons = [
            f"{name}: {found[name][1] or found[name][0]}" if name in found else f"{name}: never started"
            for name in missing
        ]
        raise GateStopped(
            f"{len(missing)} of {len(flows)} flows published nothing.",
            where=f"run {run_id}\n" + "\n".join(reasons),
            next_step="Mend the cause and run the DAG again; what was published stays, nothing is doubled.",
        )
