select
    claim.id,
    claim.bill_id,
    claim.kind,
    claim.amt,
    claim.opened_day,
    claim.closed_day,
    claim.result,
    claim.handler,
    claim.updated_at,
    bill_header.ccy
from erp.claim
inner join erp.bill_header on claim.bill_id = bill_header.id
