select
    id,
    so_id,
    kind,
    set_ts,
    set_by,
    freed_ts,
    freed_by,
    why,
    updated_at
from erp.order_block
