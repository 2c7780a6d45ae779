select
    id,
    company_id,
    debtor_id,
    so_item_id,
    article_id,
    start_day,
    end_day,
    months,
    qty,
    price,
    ccy,
    uplift_pct,
    state,
    updated_at
from erp.abo
