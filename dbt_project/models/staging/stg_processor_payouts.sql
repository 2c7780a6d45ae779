with

versions as (
    {{ current_versions('processor_payout', ['payout_id'], version_column=none) }}
),

final as (
    select
        source_system,
        payout_id,
        entity_code,
        initiated_at,
        arrival_on,
        amount,
        currency_code,
        statement_descriptor,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
