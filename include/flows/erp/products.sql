select
    id,
    art_no,
    descr,
    art_kind,
    unit,
    tax_cls,
    billable,
    updated_at
from erp.article
