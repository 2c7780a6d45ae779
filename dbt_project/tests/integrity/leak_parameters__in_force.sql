{{ config(tags=['integrity']) }}

-- A threshold that expired would silence its rule: every one needs a general row that still holds.
select
    rule_id,
    parameter,
    max(expires_on) as expired_on
from {{ ref('leak_rule_parameters') }}
where entity_code is null and currency_code is null
group by rule_id, parameter
having max(expires_on) < {{ as_of() }}
