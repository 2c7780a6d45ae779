with

changes as (
    select * from {{ ref('int_receivable_changes') }}
    where balance_class = 'receivable'
),

schedules as (
    select * from {{ ref('int_payment_schedules') }}
),

invoices as (
    select * from {{ ref('stg_invoices') }}
),

-- A retention that is not due yet is agreed, so it is not part of what is missing.
open_invoices as (
    select
        source_system,
        entity_code,
        customer_id,
        currency_code,
        document_id as invoice_id,
        sum(change_amount) as open_amount,
        sum(case when is_retention and due_on >= {{ as_of() }} then 0 else change_amount end) as residual_amount
    from changes
    group by source_system, entity_code, customer_id, currency_code, document_id
    having sum(change_amount) > 0
),

due_dates as (
    select
        source_system,
        invoice_id,
        max(case when not is_retention then due_on end) as last_due_on
    from schedules
    group by source_system, invoice_id
),

-- A claim that is open or was granted explains what it covers.
disputes as (
    select
        source_system,
        invoice_id,
        sum(amount) as disputed_amount
    from {{ ref('stg_disputes') }}
    where outcome in ('open', 'approved') and opened_on <= {{ as_of() }}
    group by source_system, invoice_id
),

final as (
    select
        open_invoices.source_system,
        open_invoices.invoice_id,
        invoices.invoice_number,
        open_invoices.entity_code,
        open_invoices.customer_id,
        open_invoices.currency_code,
        due_dates.last_due_on,
        invoices.total_amount,
        open_invoices.open_amount,
        open_invoices.residual_amount,
        coalesce(disputes.disputed_amount, 0) as disputed_amount
    from open_invoices
    inner join invoices
        on
            open_invoices.source_system = invoices.source_system
            and open_invoices.invoice_id = invoices.invoice_id
    inner join due_dates
        on
            open_invoices.source_system = due_dates.source_system
            and open_invoices.invoice_id = due_dates.invoice_id
    left join disputes
        on
            open_invoices.source_system = disputes.source_system
            and open_invoices.invoice_id = disputes.invoice_id
)

select * from final
