with

versions as (
    {{ current_versions('subscription', ['subscription_id']) }}
),

final as (
    select
        source_system,
        subscription_id,
        entity_code,
        customer_id,
        order_line_id,
        product_id,
        started_on,
        ends_on,
        interval_months,
        quantity,
        unit_price,
        currency_code,
        uplift_percent,
        status,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
