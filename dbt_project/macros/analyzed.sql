{#- Gives the planner statistics of a table that was just built; nothing to do for a view. -#}
{% macro analyzed(relation) -%}
    {%- if model.config.materialized == 'table' -%}
        analyze {{ relation }}
    {%- endif -%}
{%- endmacro %}
