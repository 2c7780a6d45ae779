with

ageing as (
    select * from {{ ref('rpt_ageing_monthly') }}
),

sales as (
    select * from {{ ref('int_credit_sales_daily') }}
),

windows as (
    select
        as_of_date,
        'dso_simple' as metric_name,
        {{ calendar_months_start('as_of_date', 2) }} as window_start
    from {{ ref('int_report_dates') }}

    union all

    select
        as_of_date,
        'dso_rolling_3' as metric_name,
        {{ trailing_months_start('as_of_date', 3) }} as window_start
    from {{ ref('int_report_dates') }}
),

window_sales as (
    select
        windows.as_of_date,
        windows.metric_name,
        sales.entity_code,
        sales.currency_code,
        sum(case when not sales.is_intercompany then sales.gross_sales_amount else 0 end) as gross_sales_amount,
        sum(case when not sales.is_intercompany then sales.credit_memos_amount else 0 end) as credit_memos_amount,
        sum(case when not sales.is_intercompany then sales.cash_sales_amount else 0 end) as cash_sales_amount,
        sum(case when sales.is_intercompany then sales.gross_sales_amount + sales.credit_memos_amount else 0 end)
            as intercompany_sales_amount
    from windows
    inner join sales on sales.effective_date between windows.window_start and windows.as_of_date
    group by windows.as_of_date, windows.metric_name, sales.entity_code, sales.currency_code
),

first_sales as (
    select
        entity_code,
        min(effective_date) as first_sale_on
    from sales
    where not is_intercompany and gross_sales_amount <> 0
    group by entity_code
),

final as (
    select
        windows.as_of_date,
        windows.metric_name,
        windows.window_start,
        windows.as_of_date - windows.window_start + 1 as days_in_window,
        ageing.entity_code,
        ageing.currency_code,
        first_sales.first_sale_on,
        ageing.gross_receivables_amount,
        ageing.net_receivables_amount,
        ageing.intercompany_amount as intercompany_receivables_amount,
        coalesce(window_sales.gross_sales_amount, 0) as gross_sales_amount,
        coalesce(window_sales.gross_sales_amount + window_sales.credit_memos_amount, 0) as net_sales_amount,
        coalesce(window_sales.cash_sales_amount, 0) as cash_sales_amount,
        coalesce(window_sales.intercompany_sales_amount, 0) as intercompany_sales_amount
    from windows
    inner join ageing on windows.as_of_date = ageing.as_of_date
    left join window_sales
        on
            windows.as_of_date = window_sales.as_of_date
            and windows.metric_name = window_sales.metric_name
            and ageing.entity_code = window_sales.entity_code
            and ageing.currency_code = window_sales.currency_code
    left join first_sales on ageing.entity_code = first_sales.entity_code
)

select * from final
