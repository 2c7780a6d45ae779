with

changes as (
    select * from {{ ref('int_receivable_changes') }}
),

customers as (
    select * from {{ ref('stg_customers') }}
),

aged as (
    select
        source_system,
        entity_code,
        customer_id,
        currency_code,
        is_intercompany,
        {{ ageing_sums(as_of() ~ ' - due_on', 'change_amount', "balance_class = 'receivable'") }},
        coalesce(sum(change_amount) filter (where balance_class = 'unapplied_cash'), 0) as unapplied_cash_amount,
        coalesce(sum(change_amount) filter (where balance_class = 'unapplied_credit'), 0) as unapplied_credits_amount
    from changes
    group by source_system, entity_code, customer_id, currency_code, is_intercompany
),

final as (
    select
        {{ as_of() }} as as_of_date,
        aged.source_system,
        aged.entity_code,
        aged.customer_id,
        customers.legal_name as customer_name,
        aged.currency_code,
        {%- for name, first_day, last_day in ageing_buckets() %}
        aged.{{ name }},
        {%- endfor %}
        aged.unapplied_cash_amount,
        aged.unapplied_credits_amount,
        {{ ageing_total() }} as gross_receivables_amount,
        {{ ageing_total() }} + aged.unapplied_cash_amount + aged.unapplied_credits_amount as net_receivables_amount,
        aged.is_intercompany
    from aged
    left join customers
        on
            aged.source_system = customers.source_system
            and aged.customer_id = customers.customer_id
    where
        {{ ageing_total() }} <> 0
        or aged.unapplied_cash_amount <> 0
        or aged.unapplied_credits_amount <> 0
)

select * from final
