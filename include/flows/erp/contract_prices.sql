select
    id,
    debtor_id,
    article_id,
    unit,
    ccy,
    from_qty,
    price,
    start_day,
    end_day,
    updated_at
from erp.price_agreement
