-- Per flow: how its newest load ended, and its last published load. Tombstones are no rows that came in.
select
    newest.flow,
    newest.source_system,
    newest.entity,
    newest.state,
    newest.error,
    ledger.load_id,
    ledger.published_at,
    ledger.source_rows,
    ledger.published_rows,
    ledger.quarantined_rows,
    ledger.duplicate_rows,
    ledger.code_version,
    so_far.loads,
    so_far.published_rows as published_rows_so_far
from (select distinct on (flow) * from ops.load order by flow, started_at desc, load_id desc) as newest
left join lateral (
    select * from ops.load_ledger as l
    where l.flow = newest.flow and l.kind <> 'reconcile'
    order by l.published_at desc, l.load_id desc
    limit 1
) as ledger on true
left join (
    select flow, count(*) as loads, sum(published_rows) as published_rows
    from ops.load_ledger
    where kind <> 'reconcile'
    group by flow
) as so_far on newest.flow = so_far.flow
order by newest.source_system collate "C", newest.flow collate "C"
