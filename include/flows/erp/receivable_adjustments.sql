select
    id,
    company_id,
    debtor_id,
    bill_id,
    receipt_id,
    kind,
    acct_day,
    amt,
    ccy,
    reason,
    entered_by,
    approved_by,
    updated_at
from erp.ar_correction
