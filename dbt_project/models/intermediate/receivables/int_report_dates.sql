with

events as (
    select min({{ month_end('effective_date') }}) as first_month_end
    from {{ ref('fct_ar_event') }}
    where effective_date <= {{ as_of() }}
),

month_ends as (
    select {{ month_end('month_start') }} as as_of_date
    from events
    cross join lateral generate_series(
        date_trunc('month', first_month_end), {{ as_of() }}, interval '1 month'
    ) as months (month_start)
),

final as (
    select
        as_of_date,
        true as is_month_end
    from month_ends
    where as_of_date <= {{ as_of() }}

    union all

    select
        {{ as_of() }} as as_of_date,
        false as is_month_end
    from events
    where first_month_end is not null and {{ as_of() }} < {{ month_end(as_of()) }}
)

select * from final
