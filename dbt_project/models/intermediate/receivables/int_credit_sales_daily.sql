with

events as (
    select * from {{ ref('fct_ar_event') }}
),

customers as (
    select * from {{ ref('stg_customers') }}
),

final as (
    select
        events.entity_code,
        events.currency_code,
        events.effective_date,
        coalesce(customers.is_intercompany, false) as is_intercompany,
        coalesce(sum(events.amount_txn) filter (
            where events.movement in ('credit_sales', 'debit_memos')
        ), 0) as gross_sales_amount,
        coalesce(sum(events.amount_txn) filter (where events.movement = 'credit_memos'), 0) as credit_memos_amount,
        coalesce(sum(events.amount_txn) filter (where events.movement = 'cash_sales'), 0) as cash_sales_amount
    from events
    left join customers
        on
            events.source_system = customers.source_system
            and events.customer_id = customers.customer_id
    where
        events.movement in ('credit_sales', 'debit_memos', 'credit_memos', 'cash_sales')
        and events.effective_date <= {{ as_of() }}
    group by
        events.entity_code, events.currency_code, events.effective_date, coalesce(customers.is_intercompany, false)
)

select * from final
