select
    credit_item.id,
    credit_item.credit_id,
    credit_item.pos,
    credit_item.bill_item_id,
    credit_item.rma_id,
    credit_item.qty,
    credit_item.net,
    credit_item.tax,
    credit_item.updated_at,
    credit_header.ccy
from erp.credit_item
inner join erp.credit_header on credit_item.credit_id = credit_header.id
