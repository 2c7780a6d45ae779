-- Card numbers that came and were not kept: a keyed hash (HMAC-SHA256) and the last four digits, nothing else.
create table quarantine.card_number_hit (
    hit_id bigint generated always as identity primary key,
    load_id text not null references ops.load (load_id),
    flow text not null,
    landing_file text not null,
    -- The column, key or element; null where it is not certain.
    place text,
    byte_offset bigint not null,
    keyed_hash bytea not null check (length(keyed_hash) = 32),
    last_four text not null check (last_four ~ '^[0-9]{4}$'),
    first_seen_at timestamptz not null default clock_timestamp()
);
create index card_number_hit_load on quarantine.card_number_hit (load_id);
create index card_number_hit_hash on quarantine.card_number_hit (keyed_hash);
