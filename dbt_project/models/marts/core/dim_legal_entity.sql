with

legal_entities as (
    select * from {{ ref('stg_legal_entities') }}
),

-- Every source uses the same code for the same company: the last word published holds.
final as (
    select
        entity_code,
        legal_name,
        country_code,
        functional_currency_code,
        timezone
    from (
        select
            *,
            row_number() over (partition by entity_code order by published_at desc, source_system) as source_rank
        from legal_entities
    ) as ranked
    where source_rank = 1
)

select * from final
