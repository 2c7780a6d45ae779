select
    bill_schedule.id,
    bill_schedule.bill_id,
    bill_schedule.part_no,
    bill_schedule.due_day,
    bill_schedule.amt,
    bill_schedule.holdback,
    bill_schedule.updated_at,
    bill_header.ccy
from erp.bill_schedule
inner join erp.bill_header on bill_schedule.bill_id = bill_header.id
