with

versions as (
    {{ current_versions('bank_statement', ['statement_id'], version_column=none) }}
),

final as (
    select
        source_system,
        statement_id,
        account_iban,
        sequence_number,
        created_at,
        statement_on,
        currency_code,
        opening_balance_amount,
        closing_balance_amount,
        entry_count,
        entry_net_amount,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
