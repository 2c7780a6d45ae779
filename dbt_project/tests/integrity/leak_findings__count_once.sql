{{ config(tags=['integrity']) }}

-- A lot, and a delivered unit, may stand in one finding only.
select
    'lot' as counted,
    source_system,
    lot_key as counted_key,
    count(*) as finding_count
from {{ ref('fct_leak_finding') }}
group by source_system, lot_key
having count(*) > 1

union all

select
    'delivered unit' as counted,
    source_system,
    delivery_line_id as counted_key,
    count(distinct rule_id) as finding_count
from {{ ref('fct_leak_finding') }}
where delivery_line_id is not null
group by source_system, delivery_line_id
having count(distinct rule_id) > 1
