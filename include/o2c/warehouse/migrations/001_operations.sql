-- Schemas of the load engine. dbt owns staging, intermediate and the marts.
create schema if not exists landing;
create schema if not exists raw;
create schema if not exists quarantine;
create schema if not exists ops;

create sequence ops.load_number;

-- The newest load of a flow holds the token; an older one may not publish.
create table ops.fence (
    flow text primary key,
    token bigint not null
);

create table ops.watermark (
    flow text primary key,
    cursor_values jsonb not null,
    load_id text not null,
    moved_at timestamptz not null default clock_timestamp()
);

-- Progress of a load; the proof is in ops.load_ledger.
create table ops.load (
    load_id text primary key,
    flow text not null,
    source_group text not null,
    source_system text not null,
    entity text not null,
    run_id text,
    fence bigint not null,
    state text not null check (state in ('extracting', 'staged', 'gated', 'published', 'stopped', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    cursor_from jsonb,
    cursor_to jsonb,
    manifest jsonb,
    error text
);
create index load_flow on ops.load (flow, started_at desc);

-- One row per published load. A load that does not close cannot be written.
create table ops.load_ledger (
    load_id text primary key references ops.load (load_id),
    flow text not null,
    source_group text not null,
    source_system text not null,
    entity text not null,
    run_id text,
    published_at timestamptz not null,
    source_rows bigint not null,
    published_rows bigint not null,
    quarantined_rows bigint not null,
    duplicate_rows bigint not null,
    cursor_from jsonb,
    cursor_to jsonb,
    manifest jsonb not null,
    code_version text not null,
    constraint load_closes_in_rows check (source_rows = published_rows + quarantined_rows + duplicate_rows)
);
create index load_ledger_flow on ops.load_ledger (flow, published_at desc);

-- The same in money: one row per load and currency. The code stands as the source gave it; '' when it gave none.
create table ops.load_ledger_total (
    load_id text not null references ops.load_ledger (load_id),
    currency_code text not null,
    source_amount numeric not null,
    published_amount numeric not null,
    quarantined_amount numeric not null,
    duplicate_amount numeric not null,
    primary key (load_id, currency_code),
    constraint load_closes_in_money
    check (source_amount = published_amount + quarantined_amount + duplicate_amount)
);

-- Files a flow has published, by content.
create table ops.source_file (
    flow text not null,
    file_name text not null,
    fingerprint text not null,
    sha256 text not null,
    bytes bigint not null,
    load_id text not null references ops.load_ledger (load_id),
    primary key (flow, file_name, fingerprint)
);

create table ops.gate_result (
    load_id text not null references ops.load (load_id),
    rule text not null,
    on_fail text not null,
    predicate text not null,
    evaluated_rows bigint not null,
    unexpected_rows bigint not null,
    is_success boolean not null,
    checked_at timestamptz not null default clock_timestamp(),
    primary key (load_id, rule)
);

create table quarantine.record (
    record_id bigint generated always as identity primary key,
    load_id text not null references ops.load_ledger (load_id),
    flow text not null,
    entity text not null,
    source_system text not null,
    owner text not null,
    rules text [] not null,
    reason text not null,
    source_key text not null,
    amount numeric,
    currency_code text,
    payload jsonb not null,
    landing_file text,
    landing_row bigint not null,
    key_hash bigint,
    row_hash bytea not null,
    quarantined_at timestamptz not null,
    state text not null default 'open' check (state in ('open', 'superseded', 'released', 'rejected')),
    closed_at timestamptz,
    closed_by_load_id text
);
create index quarantine_record_key on quarantine.record (entity, key_hash);
