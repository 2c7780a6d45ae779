-- Where the row of a record lies: in the landing files of its first load, whichever load held it back again.
alter table quarantine.record add column origin_load_id text;
update quarantine.record set origin_load_id = load_id;
alter table quarantine.record alter column origin_load_id set not null;
-- The version the source gave the row; where two versions of one key are held back, the newer one counts.
alter table quarantine.record add column source_version timestamptz;
alter table quarantine.record add constraint record_row unique (load_id, landing_row);
create index quarantine_record_origin on quarantine.record (origin_load_id, landing_row) where state = 'open';

-- What a person decided about a record, once and for all: inserted, never changed.
create table quarantine.decision (
    decision_id bigint generated always as identity primary key,
    record_id bigint not null references quarantine.record (record_id),
    decision text not null check (decision in ('release', 'reject', 'resync')),
    decided_by text not null check (decided_by ~ '\S'),
    reason text not null check (reason ~ '\S'),
    decided_at timestamptz not null default clock_timestamp(),
    load_id text references ops.load_ledger (load_id)
);
create index decision_record on quarantine.decision (record_id);
create unique index decision_closes_once on quarantine.decision (record_id) where decision in ('release', 'reject');

-- Per load: what the ledger holds back, and what became of it. A record is in one state, so the states add up.
create view ops.quarantine_balance as
select
    l.load_id,
    l.flow,
    l.published_at,
    l.quarantined_rows,
    count(r.record_id) filter (where r.state = 'open') as open_rows,
    count(r.record_id) filter (where r.state = 'superseded') as superseded_rows,
    count(r.record_id) filter (where r.state = 'released') as released_rows,
    count(r.record_id) filter (where r.state = 'rejected') as rejected_rows,
    l.quarantined_rows = count(r.record_id) as closes
from ops.load_ledger as l
left join quarantine.record as r using (load_id)
group by l.load_id;

-- The same in money. The currency stands as the source gave it; '' when it gave none.
create view ops.quarantine_balance_total as
select
    coalesce(t.load_id, r.load_id) as load_id,
    coalesce(t.currency_code, r.currency_code) as currency_code,
    coalesce(t.quarantined_amount, 0) as quarantined_amount,
    coalesce(r.open_amount, 0) as open_amount,
    coalesce(r.superseded_amount, 0) as superseded_amount,
    coalesce(r.released_amount, 0) as released_amount,
    coalesce(r.rejected_amount, 0) as rejected_amount,
    coalesce(t.quarantined_amount, 0) = coalesce(r.amount, 0) as closes
from ops.load_ledger_total as t
full join (
    select
        load_id,
        coalesce(currency_code, '') as currency_code,
        sum(coalesce(amount, 0)) as amount,
        sum(coalesce(amount, 0)) filter (where state = 'open') as open_amount,
        sum(coalesce(amount, 0)) filter (where state = 'superseded') as superseded_amount,
        sum(coalesce(amount, 0)) filter (where state = 'released') as released_amount,
        sum(coalesce(amount, 0)) filter (where state = 'rejected') as rejected_amount
    from quarantine.record
    group by 1, 2
) as r on r.load_id = t.load_id and r.currency_code = t.currency_code
where coalesce(r.amount, 0) <> 0 or coalesce(t.quarantined_amount, 0) <> 0;
