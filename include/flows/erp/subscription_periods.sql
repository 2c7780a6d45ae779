select
    abo_period.id,
    abo_period.abo_id,
    abo_period.from_day,
    abo_period.to_day,
    abo_period.bill_day,
    abo_period.amt,
    abo_period.kind,
    abo_period.bill_item_id,
    abo_period.updated_at,
    abo.ccy
from erp.abo_period
inner join erp.abo on abo_period.abo_id = abo.id
