with

versions as (
    {{ current_versions('return_line', ['return_line_id']) }}
),

final as (
    select
        source_system,
        return_line_id,
        order_line_id,
        delivery_line_id,
        received_on,
        quantity,
        condition,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
