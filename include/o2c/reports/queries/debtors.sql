select
    debtor.as_of_date,
    debtor.source_system,
    debtor.entity_code,
    debtor.customer_id,
    debtor.customer_name,
    debtor.currency_code,
    debtor.gross_receivables_amount,
    debtor.days_1_30_amount + debtor.days_31_60_amount + debtor.days_61_90_amount + debtor.days_over_90_amount
        as past_due_amount,
    debtor.days_over_90_amount,
    debtor.net_receivables_amount,
    ageing.closing_rate
from marts_receivables.rpt_ageing_by_customer as debtor
left join marts_receivables.rpt_ageing_monthly as ageing
    on
        debtor.as_of_date = ageing.as_of_date
        and debtor.entity_code = ageing.entity_code
        and debtor.currency_code = ageing.currency_code
where not coalesce(debtor.is_intercompany, false)
order by
    debtor.entity_code collate "C",
    debtor.source_system collate "C",
    debtor.customer_id collate "C",
    debtor.currency_code collate "C"
