with

versions as (
    {{ current_versions('receivable_adjustment', ['adjustment_id']) }}
),

final as (
    select
        source_system,
        adjustment_id,
        entity_code,
        customer_id,
        invoice_id,
        receipt_id,
        adjustment_type,
        adjusted_on,
        amount,
        currency_code,
        reason,
        created_by,
        approved_by,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
