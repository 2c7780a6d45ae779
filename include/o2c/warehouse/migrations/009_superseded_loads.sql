-- A load that a newer one of its flow has overtaken: neither published nor failed.
alter table ops.load drop constraint load_state_check;
alter table ops.load add constraint load_state_check
check (state in ('extracting', 'staged', 'gated', 'published', 'stopped', 'failed', 'superseded'));

-- One row per build of the marts; what was published after the last good one began is not in them yet.
create table ops.build (
    build_id bigint generated always as identity primary key,
    as_of date not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    is_success boolean,
    code_version text not null
);
