with

versions as (
    {{ current_versions('receipt', ['receipt_id']) }}
),

final as (
    select
        source_system,
        receipt_id,
        entity_code,
        customer_id,
        receipt_type,
        received_on,
        value_on,
        amount,
        currency_code,
        payment_method,
        remittance_text,
        payer_name,
        payer_iban,
        bank_reference,
        processor_charge_id,
        reversed_on,
        reversal_reason,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
