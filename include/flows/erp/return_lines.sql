select
    id,
    so_item_id,
    ship_item_id,
    arrived_day,
    qty,
    cond,
    updated_at
from erp.rma_item
