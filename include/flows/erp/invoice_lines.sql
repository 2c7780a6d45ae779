select
    bill_item.id,
    bill_item.bill_id,
    bill_item.pos,
    bill_item.so_item_id,
    bill_item.ship_item_id,
    bill_item.article_id,
    bill_item.qty,
    bill_item.price,
    bill_item.net,
    bill_item.tax,
    bill_item.price_approval,
    bill_item.updated_at,
    bill_header.ccy
from erp.bill_item
inner join erp.bill_header on bill_item.bill_id = bill_header.id
