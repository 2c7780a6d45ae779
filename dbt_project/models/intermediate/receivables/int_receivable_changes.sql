with

balances as (
    select * from {{ ref('int_receivable_balances') }}
),

schedules as (
    select * from {{ ref('int_payment_schedules') }}
),

-- Only what is owed on an invoice ages.
receivables as (
    select
        balances.*,
        'receivable' as balance_class,
        coalesce(schedules.pay_rank, 1) as pay_rank,
        schedules.due_on,
        coalesce(schedules.is_retention, false) as is_retention,
        {{ open_on_line('balances.balance_amount') }}
        - {{ open_on_line('balances.balance_before_amount') }} as change_amount
    from balances
    left join schedules
        on
            balances.source_system = schedules.source_system
            and balances.document_id = schedules.invoice_id
    where balances.document_type in ('invoice', 'debit_memo')
),

-- An invoice below zero is a credit to the customer, as is a memo not yet applied; cash keeps a class of its own.
credits as (
    select
        balances.*,
        case when document_type = 'receipt' then 'unapplied_cash' else 'unapplied_credit' end as balance_class,
        1 as pay_rank,
        cast(null as date) as due_on,
        false as is_retention,
        case
            when document_type in ('invoice', 'debit_memo')
                then least(balance_amount, 0) - least(balance_before_amount, 0)
            else balance_amount - balance_before_amount
        end as change_amount
    from balances
    where document_type not in ('invoice', 'debit_memo') or least(balance_amount, balance_before_amount) < 0
),

final as (
    select * from receivables

    union all

    select * from credits
)

select * from final
