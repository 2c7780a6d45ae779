with

versions as (
    {{ current_versions('quote_line', ['quote_line_id']) }}
),

final as (
    select
        source_system,
        quote_line_id,
        quote_id,
        sku,
        quantity,
        list_price,
        unit_price,
        discount_percent,
        approved_discount_percent,
        approved_by,
        approved_on,
        currency_code,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
