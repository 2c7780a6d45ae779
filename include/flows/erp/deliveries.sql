select
    id,
    ship_no,
    company_id,
    debtor_id,
    whs,
    picked_ts,
    gi_ts,
    gi_day,
    pod_day,
    updated_at
from erp.ship_header
