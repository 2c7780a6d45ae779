with

versions as (
    {{ current_versions('credit_memo', ['credit_memo_id']) }}
),

final as (
    select
        source_system,
        credit_memo_id,
        credit_memo_number,
        entity_code,
        customer_id,
        invoice_id,
        reason,
        issued_on,
        posted_on,
        currency_code,
        net_amount,
        tax_amount,
        total_amount,
        created_by,
        approved_by,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
