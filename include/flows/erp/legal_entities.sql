select
    id,
    name,
    ctry,
    book_ccy,
    tz,
    updated_at
from erp.company
