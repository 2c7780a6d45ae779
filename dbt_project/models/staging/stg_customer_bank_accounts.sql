with

versions as (
    {{ current_versions('customer_bank_account', ['customer_id', 'iban']) }}
),

final as (
    select
        source_system,
        customer_id,
        iban,
        valid_from,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
