with

versions as (
    {{ current_versions('delivery_line', ['delivery_line_id']) }}
),

final as (
    select
        source_system,
        delivery_line_id,
        delivery_id,
        order_line_id,
        shipped_quantity,
        delivered_quantity,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
