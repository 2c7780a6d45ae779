with

invoice_lines as (
    select * from {{ ref('stg_invoice_lines') }}
),

invoices as (
    select * from {{ ref('stg_invoices') }}
    where posted_on <= {{ as_of() }}
),

-- An invoice billed anew keeps its goods billed, but its prices no longer count.
replaced as (
    select distinct
        source_system,
        replaces_invoice_id as invoice_id
    from invoices
    where replaces_invoice_id is not null
),

final as (
    select
        invoice_lines.source_system,
        invoice_lines.invoice_line_id,
        invoice_lines.invoice_id,
        invoices.invoice_number,
        invoices.entity_code,
        invoices.customer_id,
        invoice_lines.order_line_id,
        invoice_lines.delivery_line_id,
        invoice_lines.product_id,
        invoices.posted_on,
        invoice_lines.quantity,
        invoice_lines.unit_price,
        invoice_lines.net_amount,
        invoices.currency_code,
        invoice_lines.special_price_reference,
        replaced.invoice_id is not null as is_replaced
    from invoice_lines
    inner join invoices
        on
            invoice_lines.source_system = invoices.source_system
            and invoice_lines.invoice_id = invoices.invoice_id
    left join replaced
        on
            invoices.source_system = replaced.source_system
            and invoices.invoice_id = replaced.invoice_id
    where
        invoices.status = 'posted'
        or coalesce(invoices.cancelled_on, invoices.posted_on) > {{ as_of() }}
)

select * from final
