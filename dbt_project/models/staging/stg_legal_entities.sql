with

versions as (
    {{ current_versions('legal_entity', ['entity_code']) }}
),

final as (
    select
        source_system,
        entity_code,
        legal_name,
        country_code,
        functional_currency_code,
        timezone,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
