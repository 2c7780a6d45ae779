with

versions as (
    {{ current_versions('dispute', ['dispute_id']) }}
),

final as (
    select
        source_system,
        dispute_id,
        invoice_id,
        dispute_type,
        amount,
        currency_code,
        opened_on,
        closed_on,
        outcome,
        owner,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
