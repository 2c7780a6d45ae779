with

versions as (
    {{ current_versions('invoice', ['invoice_id']) }}
),

final as (
    select
        source_system,
        invoice_id,
        invoice_number,
        entity_code,
        customer_id,
        document_type,
        sale_type,
        issued_on,
        posted_on,
        sent_at,
        due_on,
        original_due_on,
        payment_terms_days,
        currency_code,
        net_amount,
        tax_amount,
        total_amount,
        status,
        cancelled_on,
        replaces_invoice_id,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
