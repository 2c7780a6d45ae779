with

versions as (
    {{ current_versions('invoice_instalment', ['instalment_id']) }}
),

final as (
    select
        source_system,
        instalment_id,
        invoice_id,
        instalment_number,
        due_on,
        amount,
        currency_code,
        is_retention,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
