{{ config(tags=['integrity']) }}

-- An application moves a balance between two documents: its two sides must add up to nothing.
select
    source_system,
    split_part(source_key, ':', 2) as application_id,
    effective_date,
    recorded_at,
    sum(amount_txn) as left_over_amount
from {{ ref('fct_ar_event') }}
where event_type in ('apply', 'unapply')
group by source_system, split_part(source_key, ':', 2), effective_date, recorded_at
having sum(amount_txn) <> 0
