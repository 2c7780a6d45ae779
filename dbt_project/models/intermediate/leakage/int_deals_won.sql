with

opportunities as (
    select * from {{ ref('stg_opportunities') }}
),

customers as (
    select * from {{ ref('int_customers_linked') }}
),

final as (
    select
        opportunities.source_system,
        opportunities.opportunity_id,
        opportunities.opportunity_name,
        opportunities.customer_id,
        opportunities.entity_code,
        opportunities.opportunity_type,
        opportunities.order_number,
        opportunities.closed_on,
        opportunities.amount,
        opportunities.currency_code,
        {%- for parameter in ['tolerance_days', 'match_amount_tolerance', 'match_days_before', 'match_days_after'] %}
        {{ leak_parameter('L03', parameter, 'opportunities.entity_code', 'opportunities.currency_code') }}
            as {{ parameter }},
        {%- endfor %}
        customers.linked_customer_id
    from opportunities
    left join customers
        on
            opportunities.source_system = customers.source_system
            and opportunities.customer_id = customers.customer_id
    where
        opportunities.is_won
        and opportunities.closed_on < {{ as_of() }}
        and opportunities.amount > 0
        and opportunities.duplicate_of_opportunity_id is null
        and not coalesce(opportunities.purchase_order_pending, false)
        and {{ not_excluded('L03', 'opportunity_type', 'opportunities.opportunity_type') }}
        and {{ not_excluded('L03', 'customer_kind', 'customers.customer_kind') }}
        and {{ not_excluded('L03', 'customer_id', 'opportunities.customer_id') }}
)

select * from final
