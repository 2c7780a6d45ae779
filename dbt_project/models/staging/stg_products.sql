with

versions as (
    {{ current_versions('product', ['product_id']) }}
),

final as (
    select
        source_system,
        product_id,
        sku,
        product_name,
        product_type,
        base_unit_of_measure,
        tax_class,
        is_billable,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
