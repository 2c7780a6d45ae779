with

versions as (
    {{ current_versions('sales_order', ['order_id']) }}
),

final as (
    select
        source_system,
        order_id,
        order_number,
        entity_code,
        customer_id,
        opportunity_id,
        channel,
        order_type,
        billing_trigger,
        booked_at,
        booked_on,
        requested_on,
        payment_terms_days,
        currency_code,
        total_amount,
        status,
        block_reason,
        cancelled_on,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
