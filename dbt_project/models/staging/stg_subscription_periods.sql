with

versions as (
    {{ current_versions('subscription_period', ['period_id']) }}
),

final as (
    select
        source_system,
        period_id,
        subscription_id,
        starts_on,
        ends_on,
        expected_bill_on,
        expected_amount,
        currency_code,
        period_status,
        invoice_line_id,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
