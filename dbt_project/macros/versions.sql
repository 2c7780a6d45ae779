{#-
    The current version of every record that is alive. Newest: by the source's own clock, then by ours. A version
    published before its record's last tombstone counts no more; one published after it was read from the source after
    the record was seen to be gone: the record lives again, whatever its version says.
-#}
{% macro current_versions(entity, keys, version_column='updated_at') -%}
    select *
    from (
        select
            *,
            row_number() over (
                partition by source_system, {{ keys | join(', ') }}
                order by
                    {%- if version_column %}
                    {{ version_column }} desc nulls last,
                    {%- endif %}
                    _published_at desc,
                    _load_id desc
            ) as version_rank
        from {{ source('raw', entity) }} as versions
        where
            {{ known() }}
            and not exists (
                select 1
                from {{ source('raw', entity) }} as tombstones
                where
                    tombstones._deleted
                    and {{ known('tombstones._published_at') }}
                    and tombstones._published_at >= versions._published_at
                    {%- for key in ['source_system'] + keys %}
                    and tombstones.{{ key }} = versions.{{ key }}
                    {%- endfor %}
            )
    ) as ranked
    where version_rank = 1
{%- endmacro %}


{#-
    Every version of every record with the time during which the warehouse believed it: known_from (inclusive) to
    known_to (exclusive, end_of_time() for the current one), and the load that replaced it. A version that arrived after
    a newer one was never believed and is left out; a tombstone ends the life of the version before, and with it the
    order that its versions set: a record that comes back begins anew.
-#}
{% macro all_versions(entity, keys, version_column='updated_at') -%}
    select *
    from (
        select
            *,
            _published_at as known_from,
            coalesce(lead(_published_at) over version_order, {{ end_of_time() }}) as known_to,
            lead(_load_id) over version_order as next_load_id
        from (
            select
                *,
                max({{ version_column }}) over (
                    partition by source_system, {{ keys | join(', ') }}, lives_before
                    order by _published_at, {{ version_column }} nulls first, _load_id
                    rows between unbounded preceding and 1 preceding
                ) as newest_before
            from (
                select
                    *,
                    count(*) filter (where _deleted) over (
                        partition by source_system, {{ keys | join(', ') }}
                        order by _published_at, {{ version_column }} nulls first, _load_id
                        rows between unbounded preceding and 1 preceding
                    ) as lives_before
                from {{ source('raw', entity) }}
                where {{ known() }}
            ) as lives
        ) as arrived
        where newest_before is null or {{ version_column }} >= newest_before
        window version_order as (
            partition by source_system, {{ keys | join(', ') }}
            order by _published_at, {{ version_column }} nulls first, _load_id
        )
    ) as believed
    where not _deleted and known_from < known_to
{%- endmacro %}


{#- The end of what is believed until further notice. -#}
{% macro end_of_time() -%}
    cast('infinity' as timestamptz)
{%- endmacro %}
