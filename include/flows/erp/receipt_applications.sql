select
    id,
    company_id,
    receipt_id,
    credit_id,
    bill_id,
    match_day,
    amt,
    disc_amt,
    disc_kind,
    ccy,
    undone_day,
    auto,
    updated_at
from erp.cash_match
