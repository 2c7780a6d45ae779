-- Where every flow and every record stands, who is told when it does not stand well, and whether anybody watches.
-- Functions take the moment they speak of; the views beside them ask for now. What counts is loads that read a source
-- (kind extract): a replay brings nothing new from there.

-- The contracts as SQL sees them: written by 'o2c init', by each load and by the watch.
create table ops.flow (
    flow text primary key,
    source_group text not null,
    source_system text not null,
    entity text not null,
    key_columns text [] not null,
    owner text not null,
    run_mode text not null,
    connector text not null,
    freshness interval not null,
    retry_wait interval not null,
    alert text not null check (alert in ('page', 'mail', 'log')),
    tolerated_amounts jsonb not null,
    tolerated_age interval,
    dag_id text not null,
    registered_at timestamptz not null default clock_timestamp(),
    changed_at timestamptz not null default clock_timestamp(),
    retired_at timestamptz
);
comment on table ops.flow is
'One row per flow: who owns it, how old its data may become, whom to alert. retired_at: its file is gone.';
comment on column ops.flow.dag_id is 'The DAG that runs it; its schedule stands there.';
comment on column ops.flow.retry_wait is 'Longest wait between two attempts; a failure younger than that may still mend.';
comment on column ops.flow.tolerated_amounts is 'Money that may lie in quarantine before an alert, by currency.';

create index quarantine_record_open on quarantine.record (flow) where state = 'open';

create function ops.sync_info_at(moment timestamptz) returns table (
    flow text, status text, source_group text, source_system text, entity text, owner text, run_mode text,
    alert text, dag_id text, freshness interval, last_success_at timestamptz, due_at timestamptz, is_overdue boolean,
    lag interval, last_attempt_at timestamptz, last_attempt_state text, last_attempt_load_id text,
    held_since timestamptz, last_error text, data_until timestamptz,
    last_rows_in bigint, last_rows_published bigint, last_rows_quarantined bigint, last_rows_duplicate bigint,
    loads_30d bigint, published_30d bigint, failed_30d bigint, success_rate_30d numeric, error_rate_30d numeric,
    retries_30d bigint, rows_in_30d bigint, rows_published_30d bigint, rows_quarantined_30d bigint,
    rows_duplicate_30d bigint, open_records bigint, oldest_open_at timestamptz, schema_changes_30d bigint
) language sql stable as $$
with attempts as (
    select l.flow, l.state,
        lag(l.state) over (partition by l.flow order by l.fence) <> 'published' as is_retry
    from ops.load as l
    where l.kind = 'extract' and l.started_at <= moment and l.started_at > moment - interval '30 days'
),
counted as (
    select a.flow, count(*) as loads,
        count(*) filter (where a.state = 'published') as published,
        count(*) filter (where a.state in ('failed', 'stopped', 'superseded')) as failed,
        count(*) filter (where a.is_retry) as retries
    from attempts as a group by a.flow
),
summed as (
    select l.flow, sum(l.source_rows)::bigint as source, sum(l.published_rows)::bigint as published,
        sum(l.quarantined_rows)::bigint as quarantined, sum(l.duplicate_rows)::bigint as duplicate
    from ops.load_ledger as l
    where l.kind = 'extract' and l.published_at <= moment and l.published_at > moment - interval '30 days'
    group by l.flow
),
in_quarantine as (
    select q.flow, count(*) as records, min(q.quarantined_at) as oldest
    from quarantine.record as q where q.state = 'open' group by q.flow
)
select f.flow,
    case when held.since is not null then 'held back' when due.at < moment then 'overdue'
        when good.published_at is null then 'new' else 'fresh' end,
    f.source_group, f.source_system, f.entity, f.owner, f.run_mode, f.alert, f.dag_id, f.freshness,
    good.published_at, due.at, due.at < moment, moment - good.published_at,
    newest.started_at, newest.state, newest.load_id, held.since, held.error,
    case when pg_input_is_valid(mark.cursor_values ->> 0, 'timestamptz')
        then (mark.cursor_values ->> 0)::timestamptz end,
    good.source_rows, good.published_rows, good.quarantined_rows, good.duplicate_rows,
    coalesce(c.loads, 0), coalesce(c.published, 0), coalesce(c.failed, 0),
    round(c.published::numeric / nullif(c.published + c.failed, 0), 4),
    round(c.failed::numeric / nullif(c.published + c.failed, 0), 4),
    coalesce(c.retries, 0),
    coalesce(s.source, 0), coalesce(s.published, 0), coalesce(s.quarantined, 0), coalesce(s.duplicate, 0),
    coalesce(i.records, 0), i.oldest,
    (
        select count(*) from ops.schema_change as h
        where h.flow = f.flow and h.first_seen_at <= moment and h.first_seen_at > moment - interval '30 days'
    )
from ops.flow as f
left join counted as c on c.flow = f.flow
left join summed as s on s.flow = f.flow
left join in_quarantine as i on i.flow = f.flow
left join ops.watermark as mark on mark.flow = f.flow
left join lateral (
    select * from ops.load_ledger as l
    where l.flow = f.flow and l.kind = 'extract' and l.published_at <= moment
    order by l.published_at desc limit 1
) as good on true
left join lateral (
    select l.started_at, l.state, l.load_id from ops.load as l
    where l.flow = f.flow and l.kind = 'extract' and l.started_at <= moment order by l.started_at desc limit 1
) as newest on true
-- Attempts that ended badly since the last one that published: the first says since when, the newest says why.
left join lateral (
    select min(l.finished_at) as since, (array_agg(l.error order by l.fence desc))[1] as error
    from ops.load as l
    where l.flow = f.flow and l.kind = 'extract' and l.state in ('failed', 'stopped')
        and l.finished_at <= moment
        and l.started_at > coalesce((
            select p.started_at from ops.load as p where p.flow = f.flow and p.kind = 'extract' and p.state = 'published'
            order by p.started_at desc limit 1
        ), '-infinity')
) as held on true
cross join lateral (select coalesce(good.published_at, f.registered_at) + f.freshness as at) as due
where f.retired_at is null
order by f.flow
$$;
comment on function ops.sync_info_at is
'ops.sync_info with lag and 30 days as of a moment; states of loads and of quarantine are as they stand.';

create view ops.sync_info as select * from ops.sync_info_at(now());
comment on view ops.sync_info is
'One row per flow that is in use: where it stands against its freshness promise. Times UTC, lags as intervals, counts
of rows; money is in ops.sync_money. status: held back (newest attempts failed or were stopped), overdue (nothing
published for longer than freshness), new (never published, still in time), fresh.';
comment on column ops.sync_info.due_at is 'When the next publication is due: the last one, or registration, plus freshness.';
comment on column ops.sync_info.data_until is 'Source time of the cursor (UTC); null for flows without one.';
comment on column ops.sync_info.held_since is 'First failure since the last publication.';
comment on column ops.sync_info.success_rate_30d is 'Published of the attempts that have ended, 0 to 1; attempts under way do not count.';
comment on column ops.sync_info.retries_30d is 'Attempts that followed one that did not publish.';

create function ops.sync_money_at(moment timestamptz) returns table (
    flow text, source_system text, entity text, owner text, currency_code text,
    last_amount_in numeric, last_amount_published numeric, last_amount_quarantined numeric,
    last_amount_duplicate numeric, amount_in_30d numeric, amount_published_30d numeric,
    amount_quarantined_30d numeric, amount_duplicate_30d numeric,
    open_records bigint, open_amount numeric, oldest_open_at timestamptz
) language sql stable as $$
with newest as (
    select distinct on (l.flow) l.load_id from ops.load_ledger as l
    where l.kind = 'extract' and l.published_at <= moment order by l.flow, l.published_at desc
),
last_load as (
    select l.flow, t.* from newest inner join ops.load_ledger as l using (load_id)
    inner join ops.load_ledger_total as t using (load_id)
),
month as (
    select l.flow, t.currency_code, sum(t.source_amount) as source_amount, sum(t.published_amount) as published_amount,
        sum(t.quarantined_amount) as quarantined_amount, sum(t.duplicate_amount) as duplicate_amount
    from ops.load_ledger as l inner join ops.load_ledger_total as t using (load_id)
    where l.kind = 'extract' and l.published_at <= moment and l.published_at > moment - interval '30 days'
    group by l.flow, t.currency_code
),
in_quarantine as (
    select q.flow, coalesce(q.currency_code, '') as currency_code, count(*) as records, sum(q.amount) as amount,
        min(q.quarantined_at) as oldest
    from quarantine.record as q where q.state = 'open' group by 1, 2
)
select f.flow, f.source_system, f.entity, f.owner, currency_code,
    last_load.source_amount, last_load.published_amount, last_load.quarantined_amount, last_load.duplicate_amount,
    month.source_amount, month.published_amount, month.quarantined_amount, month.duplicate_amount,
    coalesce(in_quarantine.records, 0), in_quarantine.amount, in_quarantine.oldest
from month
full join last_load using (flow, currency_code)
full join in_quarantine using (flow, currency_code)
inner join ops.flow as f using (flow)
order by f.flow, currency_code
$$;
create view ops.sync_money as select * from ops.sync_money_at(now());
comment on view ops.sync_money is
'One row per flow and currency: money in, published, quarantined and duplicate, of the last load and of 30 days, and
open in quarantine. In the currency of its row, exact; currency_code is empty where the source gave none.';

create view ops.quarantine_money as
select
    q.entity,
    q.flow,
    q.owner,
    coalesce(q.currency_code, '') as currency_code,
    count(*) as records,
    sum(q.amount) as amount,
    min(q.quarantined_at) as oldest_at,
    (select string_agg(distinct r.rule, ', ' order by r.rule) from unnest(array_agg(q.rules_text)) as r (rule)) as rules
from (select *, array_to_string(rules, ', ') as rules_text from quarantine.record where state = 'open') as q
group by q.entity, q.flow, q.owner, coalesce(q.currency_code, '');
comment on view ops.quarantine_money is
'One row per entity, flow, owner and currency: records and money that lie open in quarantine.';

-- The hash that staging gives a key: the source system and the parts, as the source writes them.
create function ops.key_hash(source_system text, variadic parts text []) returns bigint
language sql immutable as $$
select hashtextextended(array_to_string(array_prepend(source_system, parts), E'\x1f', E'\x1e'), 0)
$$;

create function ops.sync_record(record_key text, of_flow text default null) returns table (
    entity text, source_system text, flow text, source_key text, target text, target_key bigint, status text,
    rules text [], reason text, owner text, amount numeric, currency_code text, versions bigint, quarantined bigint,
    attempts bigint, first_seen_at timestamptz, last_seen_at timestamptz, load_ids text []
) language plpgsql stable as $$
declare
    place record;
    hash bigint;
begin
    for place in
        select f.entity, f.source_system, min(f.owner) as owner, cardinality(min(f.key_columns)) as parts
        from ops.flow as f where of_flow is null or of_flow in (f.flow, f.source_group)
        group by f.entity, f.source_system order by 1, 2
    loop
        -- A key of one part may hold a slash itself.
        continue when place.parts > 1 and cardinality(string_to_array(record_key, '/')) <> place.parts;
        hash := case when place.parts = 1 then ops.key_hash(place.source_system, record_key)
            else ops.key_hash(place.source_system, variadic string_to_array(record_key, '/')) end;
        return query execute format($query$
            with version as (
                select v._load_id, v._published_at, v._deleted from raw.%I as v
                where v._key_hash = $1 and v.source_system = $2
            ),
            held as (
                select * from quarantine.record as q
                where q.entity = $3 and q.key_hash = $1 and q.source_system = $2
            ),
            newest as (select * from version order by _published_at desc, _load_id desc limit 1),
            last_held as (select * from held order by record_id desc limit 1),
            seen as (
                select _load_id as load_id, _published_at as at from version
                union all select load_id, quarantined_at from held
            )
            select $3, $2,
                (select l.flow from ops.load as l where l.load_id = (select max(load_id) from seen)), $4,
                'raw.' || $3, $1,
                case when h.state = 'open' then 'quarantined' when n._deleted then 'deleted'
                    when h.state = 'released' and h.closed_at >= n._published_at then 'released'
                    when n._load_id is not null then 'published' else h.state end,
                h.rules, h.reason, coalesce(h.owner, $5), h.amount, h.currency_code,
                (select count(*) from version), (select count(*) from held), (select count(*) from seen),
                (select min(at) from seen), (select max(at) from seen),
                (select array_agg(distinct load_id order by load_id desc) from seen)
            from (select) as one left join newest as n on true left join last_held as h on true
            where exists (select from seen)
        $query$, place.entity) using hash, place.source_system, place.entity, record_key, place.owner;
    end loop;
end;
$$;
comment on function ops.sync_record is
'One row per source system and entity that knows the key (its parts joined by a slash): where the record went (target,
target_key), its status (published, quarantined, released, rejected, superseded, deleted), why, how often it came
(attempts = published versions + times in quarantine), and when. Money is that of its newest quarantine record. Copies
that were counted as duplicates are in ops.load_ledger, per load, not per record.';

-- One condition opens one alert; it closes when the condition is gone.
create table ops.alert (
    alert_id bigint generated always as identity primary key,
    condition text not null,
    check_name text not null,
    flow text,
    entity text,
    owner text not null,
    severity text not null check (severity in ('page', 'mail', 'log')),
    rule text not null,
    what text not null,
    next_step text not null,
    money jsonb not null,
    opened_at timestamptz not null,
    seen_at timestamptz not null,
    level smallint not null default 0,
    level_at timestamptz not null,
    told_level smallint not null default -1,
    acknowledged_at timestamptz,
    acknowledged_by text,
    closed_at timestamptz
);
create unique index alert_open on ops.alert (condition) where closed_at is null;
comment on table ops.alert is
'One row per alert, as it stands: open while closed_at is null. level: 0 the owner, above the escalation contact;
told_level: the highest level that a channel has taken, -1 none yet. money: exact amounts by currency.';

create table ops.alert_event (
    event_id bigint generated always as identity primary key,
    alert_id bigint not null references ops.alert (alert_id),
    at timestamptz not null,
    event text not null
    check (event in ('opened', 'notified', 'not_notified', 'escalated', 'acknowledged', 'closed')),
    level smallint not null,
    by text,
    detail text
);
create index alert_event_alert on ops.alert_event (alert_id);
comment on table ops.alert_event is 'One row per thing that happened to an alert; append-only.';

create table ops.heartbeat (
    watcher text primary key,
    beat_at timestamptz not null,
    every interval not null
);
comment on table ops.heartbeat is 'One row per watcher: when it last came to its end, and how often it should.';
