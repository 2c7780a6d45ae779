{%- set rules = [
    'leak_l03_won_deal_without_order',
    'leak_l01_shipped_not_billed',
    'leak_l05_billed_below_contract_price',
    'leak_l13_short_payment',
] -%}

with

{% for rule in rules -%}
{{ rule }} as (
    select * from {{ ref(rule) }}
),

{% endfor -%}
customers as (
    select * from {{ ref('int_customers_linked') }}
),

exchange_rates as (
    select * from {{ ref('int_exchange_rates') }}
    where rate_type = 'spot' and to_currency_code = '{{ var("reporting_currency") }}'
),

currencies as (
    select * from {{ ref('currency_minor_units') }}
    where currency_code = '{{ var("reporting_currency") }}'
),

findings as (
    {%- for rule in rules %}
    select * from {{ rule }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Of several rules that see the same lot only the first in precedence keeps it.
ranked as (
    select
        findings.*,
        min(precedence) over (partition by source_system, lot_key) as lot_precedence,
        min(precedence) over (partition by source_system, coalesce(delivery_line_id, lot_key)) as unit_precedence
    from findings
),

final as (
    select
        {{ hashed_key(['ranked.rule_id', 'ranked.source_system', 'ranked.business_key']) }} as finding_id,
        ranked.rule_id,
        ranked.rule_version,
        ranked.source_system,
        ranked.entity_code,
        ranked.customer_id,
        customers.linked_customer_id,
        ranked.order_id,
        ranked.order_line_id,
        ranked.delivery_line_id,
        ranked.invoice_id,
        ranked.invoice_line_id,
        ranked.opportunity_id,
        ranked.receipt_id,
        ranked.business_key,
        ranked.lot_key,
        ranked.event_date,
        ranked.detected_on,
        ranked.amount_txn,
        ranked.currency_code,
        {{ round_half_even(
            'ranked.amount_txn * ' ~ rate_or_one('exchange_rates', 'ranked.currency_code'),
            'coalesce(currencies.minor_units, 2)'
        ) }} as amount_reporting,
        '{{ var("reporting_currency") }}' as reporting_currency_code,
        {{ rate_or_one('exchange_rates', 'ranked.currency_code') }} as exchange_rate_frozen,
        {{ rate_or_one('exchange_rates', 'ranked.currency_code') }} is null as is_incomplete_conversion,
        ranked.state,
        ranked.confidence,
        ranked.owner,
        ranked.evidence
    from ranked
    left join customers
        on
            ranked.source_system = customers.source_system
            and ranked.customer_id = customers.customer_id
    left join exchange_rates
        on
            ranked.currency_code = exchange_rates.from_currency_code
            and ranked.event_date = exchange_rates.rate_date
    left join currencies on true
    where ranked.precedence = ranked.lot_precedence and ranked.precedence = ranked.unit_precedence
)

select * from final
