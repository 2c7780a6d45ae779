select
    load.source_system,
    count(distinct result.load_id) as gates,
    count(result.rule) as rules,
    count(*) filter (where result.unexpected_rows > 0) as broken_rules,
    coalesce(sum(result.unexpected_rows), 0) as unexpected_rows,
    count(distinct load.load_id) filter (where load.state = 'stopped') as stopped_loads
from ops.load as load
left join ops.gate_result as result on load.load_id = result.load_id
group by load.source_system
order by load.source_system collate "C"
