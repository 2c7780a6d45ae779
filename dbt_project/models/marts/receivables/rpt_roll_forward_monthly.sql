{#- Every component by name; what no component claims shows up as the difference. -#}
{%- set components = [
    ('credit_sales_amount', "movement = 'credit_sales' and event_type = 'issue'"),
    ('debit_memos_amount', "movement = 'debit_memos' and event_type = 'issue'"),
    ('cash_sales_amount', "movement = 'cash_sales' and event_type = 'issue'"),
    ('cancellations_amount', "event_type = 'cancel'"),
    ('credit_memos_amount', "movement = 'credit_memos' and event_type = 'issue'"),
    ('cash_received_amount', "movement = 'cash_received' and event_type = 'receive'"),
    ('bounced_receipts_amount', "movement = 'cash_received' and event_type = 'reverse'"),
    ('deposits_applied_amount', "movement = 'deposits_applied'"),
    ('discounts_amount', "movement = 'discounts'"),
    ('write_offs_amount', "movement = 'write_offs'"),
    ('write_off_reversals_amount', "movement = 'write_off_reversals'"),
    ('refunds_amount', "movement = 'refunds'"),
    ('transfers_amount', "movement = 'applications'"),
] -%}

with

events as (
    select * from {{ ref('fct_ar_event') }}
),

ageing as (
    select * from {{ ref('rpt_ageing_monthly') }}
),

flows as (
    select
        {{ report_date('effective_date') }} as as_of_date,
        {%- for name, condition in components %}
        coalesce(sum(amount_txn) filter (where {{ condition }}), 0) as {{ name }},
        {%- endfor %}
        entity_code,
        currency_code
    from events
    where effective_date <= {{ as_of() }}
    group by {{ report_date('effective_date') }}, entity_code, currency_code
),

-- Closing comes from the aged documents, not from these flows: that is what makes the difference a check.
balances as (
    select
        as_of_date,
        entity_code,
        currency_code,
        net_receivables_amount + intercompany_amount as closing_amount,
        coalesce(lag(net_receivables_amount + intercompany_amount) over (
            partition by entity_code, currency_code
            order by as_of_date
        ), 0) as opening_amount
    from ageing
),

final as (
    select
        cast(date_trunc('month', balances.as_of_date) as date) as month,
        balances.as_of_date,
        balances.entity_code,
        balances.currency_code,
        balances.opening_amount,
        {%- for name, condition in components %}
        coalesce(flows.{{ name }}, 0) as {{ name }},
        {%- endfor %}
        balances.closing_amount,
        balances.opening_amount
        {%- for name, condition in components %}
        + coalesce(flows.{{ name }}, 0)
        {%- endfor %}
        - balances.closing_amount as difference_amount
    from balances
    left join flows
        on
            balances.as_of_date = flows.as_of_date
            and balances.entity_code = flows.entity_code
            and balances.currency_code = flows.currency_code
)

select * from final
