with

versions as (
    {{ current_versions('bank_line', ['statement_id', 'entry_number'], version_column=none) }}
),

final as (
    select
        source_system,
        statement_id,
        entry_number,
        account_iban,
        booked_on,
        value_on,
        amount,
        currency_code,
        bank_reference,
        end_to_end_id,
        remittance_text,
        counterparty_name,
        counterparty_iban,
        is_reversal,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
