select
    as_of_date,
    entity_code,
    currency_code,
    subledger_amount,
    control_account_amount,
    difference_amount,
    is_tied_out
from marts_receivables.rpt_control_account_tie_out
order by as_of_date desc, entity_code collate "C", currency_code collate "C"
