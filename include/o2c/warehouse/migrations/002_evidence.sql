-- The evidence chain. The trigger links every event to the one before it, whoever inserts it.
create table ops.evidence (
    sequence bigint primary key,
    recorded_at timestamptz not null,
    kind text not null check (kind !~ '[[:cntrl:]]'),
    subject text not null check (subject !~ '[[:cntrl:]]'),
    actor text not null check (actor !~ '[[:cntrl:]]'),
    body text not null check (body is json object),
    previous_hash bytea not null,
    hash bytea not null
);
create index evidence_subject on ops.evidence (subject);

-- Fields are joined by U+001F, which none of them can hold; times are UTC to the microsecond.
create function ops.evidence_text(event ops.evidence) returns text
language sql stable
begin atomic
    select concat_ws(
        E'\x1f',
        event.sequence::text,
        to_char(event.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        event.kind, event.subject, event.actor, event.body
    );
end;

create function ops.link_evidence() returns trigger
language plpgsql as $$
declare
    last record;
begin
    perform pg_advisory_xact_lock(hashtextextended('o2c evidence chain', 0));
    select sequence, hash into last from ops.evidence order by sequence desc limit 1;
    new.sequence := coalesce(last.sequence, 0) + 1;
    new.recorded_at := clock_timestamp();
    new.previous_hash := coalesce(last.hash, sha256('order-to-cash evidence'::bytea));
    new.hash := sha256(new.previous_hash || convert_to(ops.evidence_text(new), 'UTF8'));
    return new;
end;
$$;

create trigger link_evidence before insert on ops.evidence
for each row execute function ops.link_evidence();
