with

report_dates as (
    select * from {{ ref('int_report_dates') }}
),

changes as (
    select * from {{ ref('int_receivable_changes') }}
),

exchange_rates as (
    select * from {{ ref('int_exchange_rates') }}
),

-- Lines that fall due on the same day age alike, so they are summed before they meet the report dates.
cohorts as (
    select
        entity_code,
        currency_code,
        is_intercompany,
        balance_class,
        due_on,
        is_retention,
        report_date,
        sum(change_amount) as change_amount
    from changes
    group by entity_code, currency_code, is_intercompany, balance_class, due_on, is_retention, report_date
),

aged as (
    select
        report_dates.as_of_date,
        cohorts.entity_code,
        cohorts.currency_code,
        {{ ageing_sums(
            'report_dates.as_of_date - cohorts.due_on',
            'cohorts.change_amount',
            "cohorts.balance_class = 'receivable' and not cohorts.is_intercompany"
        ) }},
        coalesce(sum(cohorts.change_amount) filter (
            where cohorts.balance_class = 'unapplied_cash' and not cohorts.is_intercompany
        ), 0) as unapplied_cash_amount,
        coalesce(sum(cohorts.change_amount) filter (
            where cohorts.balance_class = 'unapplied_credit' and not cohorts.is_intercompany
        ), 0) as unapplied_credits_amount,
        coalesce(sum(cohorts.change_amount) filter (where cohorts.is_intercompany), 0) as intercompany_amount,
        coalesce(sum(cohorts.change_amount) filter (
            where cohorts.is_retention and not cohorts.is_intercompany
        ), 0) as of_which_retention_amount
    from report_dates
    inner join cohorts on report_dates.as_of_date >= cohorts.report_date
    group by report_dates.as_of_date, cohorts.entity_code, cohorts.currency_code
),

totalled as (
    select
        *,
        {{ ageing_total() }} as gross_receivables_amount,
        {{ ageing_total() }} + unapplied_cash_amount + unapplied_credits_amount as net_receivables_amount
    from aged
),

final as (
    select
        totalled.as_of_date,
        totalled.entity_code,
        totalled.currency_code,
        {%- set amounts = ageing_buckets() | map(attribute=0) | list + [
            'unapplied_cash_amount', 'unapplied_credits_amount', 'gross_receivables_amount', 'net_receivables_amount',
            'intercompany_amount', 'of_which_retention_amount'
        ] %}
        {%- for amount in amounts %}
        totalled.{{ amount }},
        {%- endfor %}
        '{{ var("reporting_currency") }}' as reporting_currency_code,
        {{ rate_or_one('exchange_rates', 'totalled.currency_code') }} as closing_rate,
        {%- for amount in amounts %}
        totalled.{{ amount }} * {{ rate_or_one('exchange_rates', 'totalled.currency_code') }} as {{ amount }}_reporting,
        {%- endfor %}
        {{ rate_or_one('exchange_rates', 'totalled.currency_code') }} is null as is_incomplete_conversion
    from totalled
    left join exchange_rates
        on
            totalled.currency_code = exchange_rates.from_currency_code
            and exchange_rates.to_currency_code = '{{ var("reporting_currency") }}'
            and exchange_rates.rate_type = 'closing'
            and totalled.as_of_date = exchange_rates.rate_date
)

select * from final
