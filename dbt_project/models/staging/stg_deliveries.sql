with

versions as (
    {{ current_versions('delivery', ['delivery_id']) }}
),

final as (
    select
        source_system,
        delivery_id,
        delivery_number,
        entity_code,
        customer_id,
        warehouse_code,
        picked_at,
        goods_issue_at,
        goods_issue_on,
        proof_of_delivery_on,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
