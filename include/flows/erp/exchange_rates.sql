select
    id,
    base_ccy,
    quote_ccy,
    kind,
    day,
    value,
    updated_at
from erp.fx_quote
