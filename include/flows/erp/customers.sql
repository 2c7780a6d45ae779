select
    id,
    company_id,
    name,
    vat_no,
    group_head_id,
    ctry,
    ccy,
    pay_days,
    limit_amt,
    limit_ccy,
    seg,
    is_interco,
    is_test,
    updated_at
from erp.debtor
