{#- Numerator by denominator, empty instead of an error when the denominator is zero. Both are cast before dividing. -#}
{% macro safe_divide(numerator, denominator) -%}
    cast({{ numerator }} as numeric) / nullif(cast({{ denominator }} as numeric), 0)
{%- endmacro %}


{#- Half to even at a number of digits; the database's own round() goes half away from zero. -#}
{% macro round_half_even(amount, digits) -%}
    round(
        case
            when mod(abs(({{ amount }}) * power(10::numeric, {{ digits }})), 1) = 0.5
                then 2 * round(({{ amount }}) * power(10::numeric, {{ digits }}) / 2) / power(10::numeric, {{ digits }})
            else {{ amount }}
        end,
        {{ digits }}
    )
{%- endmacro %}


{#- Decimals of a currency, joined as {{ units }}; currencies that are not listed have two. -#}
{% macro minor_units(units='units') -%}
    coalesce({{ units }}.minor_units, 2)
{%- endmacro %}


{#- A JSON object of name -> SQL expression. -#}
{% macro json_object(fields) -%}
    jsonb_build_object(
        {%- for name, expression in fields.items() %}
        '{{ name }}', {{ expression }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#- A stable key of text parts; empty parts stay apart from missing ones by their position. -#}
{% macro hashed_key(parts) -%}
    md5(concat_ws('|'
        {%- for part in parts %},
        coalesce(cast({{ part }} as text), '~')
        {%- endfor %}
    ))
{%- endmacro %}


{#- The rate of a left-joined conversion; one for an amount that is in the target currency already. -#}
{% macro rate_or_one(rates, from_currency, to_currency=none) -%}
    case
        when {{ from_currency }} = {{ to_currency or "'" ~ var('reporting_currency') ~ "'" }} then 1
        else {{ rates }}.rate
    end
{%- endmacro %}
