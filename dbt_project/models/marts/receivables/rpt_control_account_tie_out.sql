with

ageing as (
    select * from {{ ref('rpt_ageing_monthly') }}
),

report_dates as (
    select * from {{ ref('int_report_dates') }}
),

control_balances as (
    select
        balance_on as as_of_date,
        entity_code,
        currency_code,
        sum(balance_amount) as control_account_amount
    from {{ ref('stg_ledger_balances') }}
    where
        is_receivables_control
        and balance_on in (select report_dates.as_of_date from report_dates)
    group by balance_on, entity_code, currency_code
),

-- A ledger that reported on a day and left out a currency says zero; one that did not report says nothing.
reported as (
    select distinct
        as_of_date,
        entity_code
    from control_balances
),

sides as (
    select
        coalesce(ageing.as_of_date, control_balances.as_of_date) as as_of_date,
        coalesce(ageing.entity_code, control_balances.entity_code) as entity_code,
        coalesce(ageing.currency_code, control_balances.currency_code) as currency_code,
        coalesce(ageing.net_receivables_amount + ageing.intercompany_amount, 0) as subledger_amount,
        control_balances.control_account_amount
    from ageing
    full outer join control_balances
        on
            ageing.as_of_date = control_balances.as_of_date
            and ageing.entity_code = control_balances.entity_code
            and ageing.currency_code = control_balances.currency_code
),

matched as (
    select
        sides.as_of_date,
        sides.entity_code,
        sides.currency_code,
        sides.subledger_amount,
        case
            when reported.entity_code is not null then coalesce(sides.control_account_amount, 0)
        end as control_account_amount
    from sides
    left join reported
        on
            sides.as_of_date = reported.as_of_date
            and sides.entity_code = reported.entity_code
),

final as (
    select
        as_of_date,
        entity_code,
        currency_code,
        subledger_amount,
        control_account_amount,
        subledger_amount - control_account_amount as difference_amount,
        subledger_amount = control_account_amount as is_tied_out
    from matched
)

select * from final
