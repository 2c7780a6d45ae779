with

versions as (
    {{ current_versions('exchange_rate', ['from_currency_code', 'to_currency_code', 'rate_type', 'rate_date']) }}
),

final as (
    select
        source_system,
        from_currency_code,
        to_currency_code,
        rate_type,
        rate_date,
        rate,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
