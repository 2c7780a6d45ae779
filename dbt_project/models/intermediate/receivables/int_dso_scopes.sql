{#- Amounts that are added up within a scope, after conversion. -#}
{%- set amounts = [
    'gross_receivables_amount', 'net_receivables_amount', 'intercompany_receivables_amount',
    'gross_sales_amount', 'net_sales_amount', 'cash_sales_amount', 'intercompany_sales_amount'
] -%}

with

components as (
    select * from {{ ref('int_dso_components') }}
),

legal_entities as (
    select * from {{ ref('dim_legal_entity') }}
),

exchange_rates as (
    select * from {{ ref('int_exchange_rates') }}
    where rate_type = 'closing'
),

scoped as (
    select
        components.*,
        'entity_currency' as scope,
        entity_code as scope_entity_code,
        currency_code as scope_currency_code
    from components

    union all

    select
        components.*,
        'entity' as scope,
        components.entity_code as scope_entity_code,
        legal_entities.functional_currency_code as scope_currency_code
    from components
    inner join legal_entities on components.entity_code = legal_entities.entity_code

    union all

    select
        components.*,
        'group' as scope,
        'ALL' as scope_entity_code,
        '{{ var("reporting_currency") }}' as scope_currency_code
    from components
),

-- One rate for receivables and sales alike, so that a move of the rate does not look like a move of collections.
converted as (
    select
        scoped.*,
        {{ rate_or_one('exchange_rates', 'scoped.currency_code', 'scoped.scope_currency_code') }} as closing_rate
    from scoped
    left join exchange_rates
        on
            scoped.currency_code = exchange_rates.from_currency_code
            and scoped.scope_currency_code = exchange_rates.to_currency_code
            and scoped.as_of_date = exchange_rates.rate_date
),

final as (
    select
        as_of_date,
        scope,
        scope_entity_code as entity_code,
        scope_currency_code as currency_code,
        metric_name,
        window_start,
        days_in_window,
        min(first_sale_on) as first_sale_on,
        {%- for amount in amounts %}
        coalesce(sum({{ amount }} * closing_rate), 0) as {{ amount }},
        {%- endfor %}
        bool_or(closing_rate is null) as is_incomplete_conversion,
        string_agg(distinct case when closing_rate is null then currency_code end, ', ') as excluded_currency_codes
    from converted
    group by
        as_of_date, scope, scope_entity_code, scope_currency_code, metric_name, window_start, days_in_window
)

select * from final
