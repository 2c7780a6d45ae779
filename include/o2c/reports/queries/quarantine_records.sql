-- The oldest rows still held back; the workbook says when there are more.
select
    record_id,
    flow,
    entity,
    array_to_string(rules, ', ') as rules,
    reason,
    owner,
    source_key,
    amount,
    currency_code,
    load_id,
    quarantined_at
from quarantine.record
where state = 'open'
order by record_id
limit 5000
