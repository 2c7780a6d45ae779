with

versions as (
    {{ current_versions('invoice_line', ['invoice_line_id']) }}
),

final as (
    select
        source_system,
        invoice_line_id,
        invoice_id,
        line_number,
        order_line_id,
        delivery_line_id,
        product_id,
        quantity,
        unit_price,
        net_amount,
        tax_amount,
        currency_code,
        special_price_reference,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
