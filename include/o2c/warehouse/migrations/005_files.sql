-- Every file a flow has taken in, by name and fingerprint, and what became of it.
alter table ops.source_file rename to file_delivery;
alter table ops.file_delivery
add column first_seen_at timestamptz not null default clock_timestamp(),
add column last_seen_at timestamptz not null default clock_timestamp(),
add column outcome text not null default 'published' check (outcome in ('published', 'duplicate_of', 'supersedes')),
add column related_load_id text,
add column related_file_name text,
add constraint file_delivery_relation check ((outcome = 'published') = (related_load_id is null));
create index file_delivery_sha256 on ops.file_delivery (flow, sha256);

-- What has changed in the columns of a source, each change once.
create table ops.schema_change (
    flow text not null,
    column_name text not null,
    change text not null check (change in ('added', 'removed', 'retyped')),
    detail text not null,
    first_load_id text not null references ops.load (load_id),
    first_seen_at timestamptz not null default clock_timestamp(),
    primary key (flow, column_name, change, detail)
);
