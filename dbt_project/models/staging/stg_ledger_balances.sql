with

versions as (
    {{ current_versions('ledger_balance', ['entity_code', 'account_code', 'currency_code', 'balance_on']) }}
),

final as (
    select
        source_system,
        entity_code,
        account_code,
        currency_code,
        balance_on,
        account_name,
        is_receivables_control,
        balance_amount,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
