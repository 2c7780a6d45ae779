with

versions as (
    {{ current_versions('processor_transaction', ['transaction_id'], version_column=none) }}
),

final as (
    select
        source_system,
        transaction_id,
        transaction_type,
        charge_id,
        payout_id,
        entity_code,
        order_reference,
        occurred_at,
        available_on,
        gross_amount,
        fee_amount,
        net_amount,
        currency_code,
        dispute_reason,
        evidence_due_on,
        evidence_submitted_on,
        dispute_outcome,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
