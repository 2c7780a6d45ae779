{#- Ageing classes by days past due, closed intervals: exactly 90 days is 61 to 90. -#}
{% macro ageing_buckets() -%}
    {{ return([
        ('current_amount', none, 0),
        ('days_1_30_amount', 1, 30),
        ('days_31_60_amount', 31, 60),
        ('days_61_90_amount', 61, 90),
        ('days_over_90_amount', 91, none),
    ]) }}
{%- endmacro %}


{#- One sum per ageing class. -#}
{% macro ageing_sums(days_past_due, amount, condition) -%}
    {%- for name, first_day, last_day in ageing_buckets() %}
    coalesce(sum({{ amount }}) filter (
        where {{ condition }}
        {%- if first_day is not none %} and {{ days_past_due }} >= {{ first_day }}{% endif %}
        {%- if last_day is not none %} and {{ days_past_due }} <= {{ last_day }}{% endif %}
    ), 0) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- The sum of all ageing classes of a row. -#}
{% macro ageing_total() -%}
    {% for name, first_day, last_day in ageing_buckets() %}{{ name }}{{ ' + ' if not loop.last }}{% endfor %}
{%- endmacro %}


{#- What is left of a schedule line when the document owes a balance: later lines are paid last. -#}
{% macro open_on_line(balance) -%}
    greatest(
        0,
        case
            when coalesce(schedules.pay_rank, 1) = 1 then {{ balance }} - coalesce(schedules.amount_after, 0)
            else least(schedules.line_amount, {{ balance }} - schedules.amount_after)
        end
    )
{%- endmacro %}
