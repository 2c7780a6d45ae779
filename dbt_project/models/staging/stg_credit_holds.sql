with

versions as (
    {{ current_versions('credit_hold', ['hold_id']) }}
),

final as (
    select
        source_system,
        hold_id,
        order_id,
        hold_type,
        set_at,
        set_by,
        released_at,
        released_by,
        reason,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
