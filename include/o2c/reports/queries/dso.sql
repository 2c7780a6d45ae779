select
    as_of_date,
    scope,
    entity_code,
    currency_code,
    metric_name,
    ar_basis,
    tax_basis,
    fx_basis,
    days_in_window,
    numerator_amount,
    denominator_amount,
    dso_days,
    null_reason
from marts_receivables.rpt_dso_monthly
order by
    as_of_date,
    scope collate "C" desc,
    entity_code collate "C",
    currency_code collate "C",
    metric_name collate "C" desc,
    ar_basis collate "C" desc
