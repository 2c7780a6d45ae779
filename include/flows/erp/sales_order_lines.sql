select
    so_item.id,
    so_item.so_id,
    so_item.pos,
    so_item.parent_item_id,
    so_item.article_id,
    so_item.qty,
    so_item.unit,
    so_item.list_price,
    so_item.disc_pct,
    so_item.price,
    so_item.net,
    so_item.tax_pct,
    so_item.promised_day,
    so_item.free_flag,
    so_item.cancel_day,
    so_item.updated_at,
    so_header.ccy
from erp.so_item
inner join erp.so_header on so_item.so_id = so_header.id
