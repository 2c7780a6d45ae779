with

versions as (
    {{ current_versions('opportunity', ['opportunity_id']) }}
),

final as (
    select
        source_system,
        opportunity_id,
        opportunity_name,
        customer_id,
        entity_code,
        stage,
        is_closed,
        is_won,
        closed_on,
        amount,
        currency_code,
        opportunity_type,
        order_number,
        duplicate_of_opportunity_id,
        purchase_order_pending,
        owner,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
