{#- The last day of the month of a date. -#}
{% macro month_end(day) -%}
    cast(date_trunc('month', {{ day }}) + interval '1 month' - interval '1 day' as date)
{%- endmacro %}


{#- The first report date that sees something effective on a date: its month end, or as_of in the month of as_of. -#}
{% macro report_date(day) -%}
    least({{ month_end(day) }}, {{ as_of() }})
{%- endmacro %}


{#- First day of a window of whole months that ends on a date; calendar months when the date is a month end. -#}
{% macro trailing_months_start(day, months) -%}
    cast({{ day }} + interval '1 day' - interval '{{ months }} months' as date)
{%- endmacro %}


{#- First day of the month that lies a number of months before the month of a date. -#}
{% macro calendar_months_start(day, months_before) -%}
    cast(date_trunc('month', {{ day }}) - interval '{{ months_before }} months' as date)
{%- endmacro %}
