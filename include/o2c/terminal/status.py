"""``o2c status``: where every flow stands, in one query per table."""

from __future__ import annotations

import psycopg

FLOWS = """
select
    newest.flow,
    newest.state,
    ledger.published_at as last_success,
    ledger.source_rows as source,
    ledger.published_rows as published,
    ledger.quarantined_rows as quarantined,
    ledger.duplicate_rows as duplicate,
    runs.loads,
    runs.failures,
    coalesce(open_records.records, 0) as in_quarantine
from (select distinct on (flow) * from ops.load order by flow, started_at desc) as newest
left join lateral (
    select * from ops.load_ledger as l where l.flow = newest.flow order by l.published_at desc limit 1
) as ledger on true
inner join (
    select flow, count(*) as loads, count(*) filter (where state in ('failed', 'stopped')) as failures
    from ops.load group by flow
) as runs on runs.flow = newest.flow
left join (
    select flow, count(*) as records from quarantine.record where state = 'open' group by flow
) as open_records on open_records.flow = newest.flow
where %(flow)s::text is null or newest.flow = %(flow)s or newest.source_group = %(flow)s
order by newest.flow
"""

QUARANTINE = """
select flow, currency_code, count(*) as records, sum(amount) as amount, min(quarantined_at) as oldest,
    string_agg(distinct array_to_string(rules, ', '), '; ') as rules
from quarantine.record
where state = 'open' and (%(flow)s::text is null or flow = %(flow)s or flow like %(flow)s || '/%%')
group by flow, currency_code
order by flow, currency_code
"""

ERRORS = """
select flow, load_id, state, error
from (select distinct on (flow) * from ops.load order by flow, started_at desc) as newest
where state in ('failed', 'stopped')
    and (%(flow)s::text is null or flow = %(flow)s or source_group = %(flow)s)
order by flow
"""


def read(connection: psycopg.Connection, query: str, flow: str | None) -> tuple[list[str], list[tuple[object, ...]]]:
    """Columns and rows of one of the queries above, for one flow, one source, or all."""
    cursor = connection.execute(query, {"flow": flow})
    return [column.name for column in cursor.description or ()], cursor.fetchall()
