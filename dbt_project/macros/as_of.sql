{#- The business date of the build as a SQL date. There is no default: nothing here reads the clock. -#}
{% macro as_of() -%}
    {%- set given = var('as_of', none) -%}
    {%- if execute and not given -%}
        {{ exceptions.raise_compiler_error(
            "The variable as_of is not set. Give the business date: --vars '{as_of: 2026-03-31}'."
        ) }}
    {%- elif execute and not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', given | string) -%}
        {{ exceptions.raise_compiler_error("as_of is '" ~ given ~ "', expected a date like 2026-03-31.") }}
    {%- endif -%}
    cast('{{ given or "1970-01-01" }}' as date)
{%- endmacro %}


{#- Only what the warehouse knew at as_known; a bare date means its last instant, UTC. Empty when not asked for. -#}
{% macro known(column='_published_at') -%}
    {%- set given = var('as_known', none) | string -%}
    {%- if not execute or var('as_known', none) is none -%}
        true
    {%- elif modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', given) -%}
        {{ column }} < cast('{{ given }} 00:00:00+00' as timestamptz) + interval '1 day'
    {%- else -%}
        {{ column }} <= cast('{{ given }}' as timestamptz)
    {%- endif -%}
{%- endmacro %}
