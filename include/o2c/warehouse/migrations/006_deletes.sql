-- What a load is, as its manifest says: rows that a source sent (extract), or records found deleted there (reconcile).
alter table ops.load
add column kind text not null generated always as (coalesce(manifest ->> 'kind', 'extract')) stored;
alter table ops.load_ledger
add column kind text not null generated always as (coalesce(manifest ->> 'kind', 'extract')) stored;

-- One row per published comparison of a source's keys with raw.
create table ops.key_scan (
    load_id text primary key references ops.load_ledger (load_id),
    flow text not null,
    scanned_at timestamptz not null,
    source_keys bigint not null,
    known_keys bigint not null,
    deleted_keys bigint not null,
    missed_keys bigint not null,
    pending_keys bigint not null,
    withdrawn_records bigint not null,
    accepted_by text,
    accepted_reason text,
    constraint key_scan_accepted check ((accepted_by is null) = (accepted_reason is null))
);
create index key_scan_flow on ops.key_scan (flow, scanned_at desc);
comment on table ops.key_scan is
'One row per key scan: distinct keys the source holds, records raw held as alive, and what became of the difference.
deleted: tombstones published. missed: in the source, due by the cursor, and neither in raw nor in quarantine. pending:
not due yet. withdrawn: quarantined records whose source record is gone. accepted_by: who agreed to more deletes than
the flow allows.';
