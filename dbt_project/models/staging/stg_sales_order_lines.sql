with

versions as (
    {{ current_versions('sales_order_line', ['order_line_id']) }}
),

final as (
    select
        source_system,
        order_line_id,
        order_id,
        line_number,
        parent_order_line_id,
        product_id,
        ordered_quantity,
        unit_of_measure,
        list_price,
        discount_percent,
        unit_price,
        net_amount,
        tax_rate,
        currency_code,
        promised_on,
        is_free_of_charge,
        cancelled_on,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
