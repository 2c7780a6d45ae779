{{ config(tags=['integrity']) }}

-- Ageing classes, unapplied money and intercompany must be all that the events say is owed, at as_of and by customer.
with

events as (
    select
        entity_code,
        currency_code,
        sum(amount_txn) as event_amount
    from {{ ref('fct_ar_event') }}
    where effective_date <= {{ as_of() }}
    group by entity_code, currency_code
),

ageing as (
    select
        entity_code,
        currency_code,
        {{ ageing_total() }} + unapplied_cash_amount + unapplied_credits_amount + intercompany_amount as aged_amount,
        net_receivables_amount + intercompany_amount as stated_amount
    from {{ ref('rpt_ageing_monthly') }}
    where as_of_date = {{ as_of() }}
),

customers as (
    select
        entity_code,
        currency_code,
        sum(net_receivables_amount) as customer_amount
    from {{ ref('rpt_ageing_by_customer') }}
    group by entity_code, currency_code
),

final as (
    select
        coalesce(events.entity_code, ageing.entity_code) as entity_code,
        coalesce(events.currency_code, ageing.currency_code) as currency_code,
        events.event_amount,
        ageing.aged_amount,
        ageing.stated_amount,
        coalesce(customers.customer_amount, 0) as customer_amount
    from events
    full outer join ageing
        on
            events.entity_code = ageing.entity_code
            and events.currency_code = ageing.currency_code
    left join customers
        on
            events.entity_code = customers.entity_code
            and events.currency_code = customers.currency_code
    where
        coalesce(events.event_amount, 0) <> coalesce(ageing.aged_amount, 0)
        or coalesce(events.event_amount, 0) <> coalesce(ageing.stated_amount, 0)
        or coalesce(events.event_amount, 0) <> coalesce(customers.customer_amount, 0)
)

select * from final
