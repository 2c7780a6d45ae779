-- Row counts stand on the first currency of a load only, so that a sum over the column is right.
select
    ledger.load_id,
    ledger.flow,
    ledger.source_system,
    ledger.entity,
    ledger.published_at,
    case when total.place is null or total.place = 1 then ledger.source_rows end as source_rows,
    case when total.place is null or total.place = 1 then ledger.published_rows end as published_rows,
    case when total.place is null or total.place = 1 then ledger.quarantined_rows end as quarantined_rows,
    case when total.place is null or total.place = 1 then ledger.duplicate_rows end as duplicate_rows,
    total.currency_code,
    total.source_amount,
    total.published_amount,
    total.quarantined_amount,
    total.duplicate_amount,
    ledger.code_version
from ops.load_ledger as ledger
left join (
    select *, row_number() over (partition by load_id order by currency_code collate "C") as place
    from ops.load_ledger_total
) as total on ledger.load_id = total.load_id
order by ledger.published_at desc, ledger.load_id desc, total.place
