select
    milestone.id,
    milestone.so_item_id,
    milestone.name,
    milestone.plan_day,
    milestone.done_day,
    milestone.accept_day,
    milestone.net,
    milestone.holdback_pct,
    milestone.bill_item_id,
    milestone.updated_at,
    so_header.ccy
from erp.milestone
inner join erp.so_item on milestone.so_item_id = so_item.id
inner join erp.so_header on so_item.so_id = so_header.id
