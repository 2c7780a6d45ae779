with

quotes as (
    select * from {{ ref('stg_exchange_rates') }}
),

-- Rates belong to the group, not to a source: of two quotes for the same day the one published last holds.
quoted as (
    select *
    from (
        select
            *,
            row_number() over (
                partition by from_currency_code, to_currency_code, rate_type, rate_date
                order by published_at desc, source_system
            ) as quote_rank
        from quotes
    ) as ranked
    where quote_rank = 1
),

-- Over the declared pivot, both legs as quoted: nothing is inverted and no earlier day stands in.
triangulated as (
    select
        first_leg.rate_type,
        first_leg.rate_date,
        first_leg.from_currency_code,
        second_leg.to_currency_code,
        first_leg.rate * second_leg.rate as rate
    from quoted as first_leg
    inner join quoted as second_leg
        on
            first_leg.rate_type = second_leg.rate_type
            and first_leg.rate_date = second_leg.rate_date
            and first_leg.to_currency_code = '{{ var("pivot_currency") }}'
            and second_leg.from_currency_code = '{{ var("pivot_currency") }}'
            and first_leg.from_currency_code <> second_leg.to_currency_code
    left join quoted as direct
        on
            first_leg.rate_type = direct.rate_type
            and first_leg.rate_date = direct.rate_date
            and first_leg.from_currency_code = direct.from_currency_code
            and second_leg.to_currency_code = direct.to_currency_code
    where direct.rate is null
),

final as (
    select
        rate_type,
        rate_date,
        from_currency_code,
        to_currency_code,
        rate,
        false as is_triangulated
    from quoted

    union all

    select
        rate_type,
        rate_date,
        from_currency_code,
        to_currency_code,
        rate,
        true as is_triangulated
    from triangulated
)

select * from final
