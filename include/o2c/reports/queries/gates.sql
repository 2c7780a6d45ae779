-- The rules of every flow's newest gate.
select
    newest.flow,
    newest.load_id,
    newest.state,
    result.rule,
    result.on_fail,
    result.predicate,
    result.evaluated_rows,
    result.unexpected_rows,
    result.is_success
from (
    select distinct on (flow) *
    from ops.load
    where load_id in (select load_id from ops.gate_result)
    order by flow, started_at desc, load_id desc
) as newest
inner join ops.gate_result as result on newest.load_id = result.load_id
order by newest.flow collate "C", result.rule collate "C"
