select
    id,
    credit_no,
    company_id,
    debtor_id,
    bill_id,
    reason_cd,
    doc_day,
    acct_day,
    ccy,
    net,
    tax,
    gross,
    entered_by,
    approved_by,
    updated_at
from erp.credit_header
