select
    id,
    company_id,
    account,
    acct_name,
    ar_control,
    ccy,
    day,
    bal,
    updated_at
from erp.gl_balance
