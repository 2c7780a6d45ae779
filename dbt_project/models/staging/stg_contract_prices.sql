with

versions as (
    {{ current_versions('contract_price', ['contract_price_id']) }}
),

final as (
    select
        source_system,
        contract_price_id,
        customer_id,
        product_id,
        unit_of_measure,
        currency_code,
        tier_from_quantity,
        unit_price,
        valid_from,
        valid_to,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
