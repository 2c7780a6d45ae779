with

events as (
    select * from {{ ref('fct_ar_event') }}
),

customers as (
    select * from {{ ref('stg_customers') }}
),

-- One step per document and report date is all that a report can see.
steps as (
    select
        source_system,
        entity_code,
        customer_id,
        currency_code,
        document_type,
        document_id,
        {{ report_date('effective_date') }} as report_date,
        sum(amount_txn) as change_amount
    from events
    where effective_date <= {{ as_of() }}
    group by
        source_system, entity_code, customer_id, currency_code, document_type, document_id,
        {{ report_date('effective_date') }}
),

running as (
    select
        *,
        sum(change_amount) over (
            partition by source_system, entity_code, customer_id, currency_code, document_type, document_id
            order by report_date
            rows between unbounded preceding and current row
        ) as balance_amount
    from steps
),

final as (
    select
        running.source_system,
        running.entity_code,
        running.customer_id,
        running.currency_code,
        running.document_type,
        running.document_id,
        running.report_date,
        running.balance_amount - running.change_amount as balance_before_amount,
        running.balance_amount,
        coalesce(customers.is_intercompany, false) as is_intercompany
    from running
    left join customers
        on
            running.source_system = customers.source_system
            and running.customer_id = customers.customer_id
)

select * from final
