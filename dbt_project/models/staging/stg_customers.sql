with

versions as (
    {{ current_versions('customer', ['customer_id']) }}
),

final as (
    select
        source_system,
        customer_id,
        entity_code,
        legal_name,
        tax_id,
        erp_customer_id,
        parent_customer_id,
        country_code,
        currency_code,
        payment_terms_days,
        credit_limit_amount,
        credit_limit_currency_code,
        segment,
        is_intercompany,
        is_test,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
