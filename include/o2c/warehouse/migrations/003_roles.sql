-- Every contract that was ever in force: what an entity or a flow said, and which code read it.
create table ops.contract_version (
    version_id bigint generated always as identity primary key,
    contract text not null,
    sha256 text not null,
    contract_text text not null,
    code_version text not null,
    recorded_by text not null,
    first_seen_at timestamptz not null default clock_timestamp()
);
create index contract_version_contract on ops.contract_version (contract, version_id desc);

-- What has been recorded is never changed, by nobody; whoever finds an error adds to it. Which tables and columns it
-- guards stands in guards.py, which looks after every migration.
create function ops.keep_as_recorded() returns trigger
language plpgsql as $$
begin
    raise exception '% of %.% is refused: what is recorded there is evidence.', tg_op, tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege',
        hint = 'Rows are added, never changed. A correction is a new load, a decision or a new event.';
end;
$$;

-- Attaches the guard to a table, or to some of its columns; it fires in every session_replication_role.
create function ops.guard(relation regclass, columns text default null) returns void
language plpgsql as $$
begin
    execute format(
        'create or replace trigger keep_as_recorded before delete or truncate or update%s on %s'
        ' for each statement execute function ops.keep_as_recorded()',
        ' of ' || columns, relation
    );
    execute format('alter table %s enable always trigger keep_as_recorded', relation);
end;
$$;

-- Linking reads the chain; whoever may append need not be able to read it.
alter function ops.link_evidence() security definer;
alter function ops.link_evidence() set search_path = '';
alter table ops.evidence enable always trigger link_evidence;
