select
    id,
    ship_id,
    so_item_id,
    qty_shipped,
    qty_confirmed,
    updated_at
from erp.ship_item
