with

findings as (
    select * from {{ ref('fct_leak_finding') }}
),

-- Low confidence goes to a review queue and is counted there, not in the amounts.
final as (
    select
        {{ as_of() }} as as_of_date,
        rule_id,
        state,
        entity_code,
        currency_code,
        count(*) filter (where confidence <> 'low') as finding_count,
        coalesce(sum(amount_txn) filter (where confidence <> 'low'), 0) as amount_txn,
        coalesce(sum(amount_reporting) filter (where confidence <> 'low'), 0) as amount_reporting,
        reporting_currency_code,
        coalesce(sum(amount_txn) filter (where confidence <> 'low' and is_incomplete_conversion), 0)
            as unconverted_amount_txn,
        count(*) filter (where confidence = 'low') as review_finding_count
    from findings
    group by rule_id, state, entity_code, currency_code, reporting_currency_code
)

select * from final
