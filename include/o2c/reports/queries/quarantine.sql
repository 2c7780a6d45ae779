select
    flow,
    entity,
    array_to_string(rules, ', ') as rules,
    owner,
    currency_code,
    count(*) as records,
    sum(amount) as amount,
    min(quarantined_at) as oldest_at
from quarantine.record
where state = 'open'
group by flow, entity, quarantine.record.rules, owner, currency_code
order by flow collate "C", array_to_string(rules, ', ') collate "C", owner collate "C", currency_code collate "C"
