{{ config(materialized='view') }}

with

instalments as (
    select * from {{ ref('stg_invoice_instalments') }}
),

invoices as (
    select * from {{ ref('stg_invoices') }}
),

-- Money pays the oldest due line first and a retention last.
ranked as (
    select
        *,
        row_number() over pay_order as pay_rank,
        sum(amount) over (partition by source_system, invoice_id) - sum(amount) over pay_order as amount_after
    from instalments
    window pay_order as (
        partition by source_system, invoice_id
        order by is_retention, due_on, instalment_number, instalment_id
        rows between unbounded preceding and current row
    )
),

final as (
    select
        invoices.source_system,
        invoices.invoice_id,
        coalesce(ranked.pay_rank, 1) as pay_rank,
        coalesce(
            ranked.due_on,
            invoices.due_on,
            invoices.issued_on + cast(invoices.payment_terms_days as integer),
            invoices.issued_on
        ) as due_on,
        coalesce(ranked.is_retention, false) as is_retention,
        ranked.amount as line_amount,
        coalesce(ranked.amount_after, 0) as amount_after,
        invoices.due_on is null and ranked.due_on is null as is_due_date_derived
    from invoices
    left join ranked
        on
            invoices.source_system = ranked.source_system
            and invoices.invoice_id = ranked.invoice_id
)

select * from final
