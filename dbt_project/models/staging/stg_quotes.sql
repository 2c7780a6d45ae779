with

versions as (
    {{ current_versions('quote', ['quote_id']) }}
),

final as (
    select
        source_system,
        quote_id,
        quote_number,
        opportunity_id,
        status,
        valid_to,
        total_amount,
        currency_code,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
