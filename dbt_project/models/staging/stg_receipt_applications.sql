with

versions as (
    {{ current_versions('receipt_application', ['application_id']) }}
),

final as (
    select
        source_system,
        application_id,
        entity_code,
        receipt_id,
        credit_memo_id,
        invoice_id,
        applied_on,
        applied_amount,
        discount_amount,
        discount_kind,
        currency_code,
        unapplied_on,
        is_automatic,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
