with

scopes as (
    select * from {{ ref('int_dso_scopes') }}
),

bases as (
    select
        scopes.*,
        'net_of_unapplied' as ar_basis,
        'credit_sales_less_credit_memos' as sales_basis,
        net_receivables_amount as numerator_amount,
        net_sales_amount as denominator_amount
    from scopes

    union all

    select
        scopes.*,
        'gross_invoices' as ar_basis,
        'credit_sales' as sales_basis,
        gross_receivables_amount as numerator_amount,
        gross_sales_amount as denominator_amount
    from scopes
),

-- A figure that cannot be computed is empty and says why; zero would read as "paid on the day".
judged as (
    select
        *,
        case
            when first_sale_on is null or date_trunc('month', first_sale_on) > date_trunc('month', window_start)
                then 'insufficient_history'
            when is_incomplete_conversion and denominator_amount = 0 then 'exchange_rate_missing'
            when denominator_amount <= 0 then 'denominator_not_positive'
        end as null_reason
    from bases
),

final as (
    select
        as_of_date,
        scope,
        entity_code,
        currency_code,
        metric_name,
        ar_basis,
        sales_basis,
        'incl' as tax_basis,
        case
            when scope = 'entity_currency' then 'document_currency'
            else 'constant_closing_rate_of_as_of'
        end as fx_basis,
        'actual' as days_basis,
        'excluded' as intercompany_basis,
        'incl' as disputed_basis,
        '{{ var("as_known", "latest") }}' as as_known,
        window_start,
        days_in_window,
        numerator_amount,
        denominator_amount,
        case
            when null_reason is null
                then round({{ safe_divide('numerator_amount', 'denominator_amount') }} * days_in_window, 4)
        end as dso_days,
        null_reason,
        cash_sales_amount as excluded_cash_sales_amount,
        intercompany_receivables_amount as excluded_intercompany_receivables_amount,
        intercompany_sales_amount as excluded_intercompany_sales_amount,
        is_incomplete_conversion,
        excluded_currency_codes
    from judged
)

select * from final
