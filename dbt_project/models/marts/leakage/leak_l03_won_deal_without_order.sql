with

deals as (
    select * from {{ ref('int_deals_won') }}
    where closed_on + cast(tolerance_days as integer) < {{ as_of() }}
),

opportunities as (
    select * from {{ ref('stg_opportunities') }}
),

orders as (
    select * from {{ ref('stg_sales_orders') }}
    where booked_on <= {{ as_of() }}
),

customers as (
    select * from {{ ref('int_customers_linked') }}
),

-- References cross systems, so they are compared without the system.
referenced as (
    select opportunity_id from orders
    where opportunity_id is not null

    union

    select opportunities.opportunity_id
    from opportunities
    inner join orders on opportunities.order_number = orders.order_number
),

unreferenced_orders as (
    select
        orders.*,
        customers.linked_customer_id
    from orders
    inner join customers
        on
            orders.source_system = customers.source_system
            and orders.customer_id = customers.customer_id
    where
        orders.opportunity_id is null
        and not exists (
            select 1
            from opportunities
            where opportunities.order_number = orders.order_number
        )
),

open_deals as (
    select * from deals
    where not exists (
        select 1
        from referenced
        where referenced.opportunity_id = deals.opportunity_id
    )
),

-- An order without reference answers one deal at most: the one that closed nearest to its booking.
answered as (
    select opportunity_id
    from (
        select
            open_deals.opportunity_id,
            row_number() over (
                partition by unreferenced_orders.source_system, unreferenced_orders.order_id
                order by abs(unreferenced_orders.booked_on - open_deals.closed_on), open_deals.opportunity_id
            ) as deal_rank
        from open_deals
        inner join unreferenced_orders
            on
                open_deals.linked_customer_id = unreferenced_orders.linked_customer_id
                and open_deals.currency_code = unreferenced_orders.currency_code
        where
            abs(unreferenced_orders.total_amount - open_deals.amount)
            <= open_deals.match_amount_tolerance * open_deals.amount
            and unreferenced_orders.booked_on - open_deals.closed_on
            between -open_deals.match_days_before and open_deals.match_days_after
    ) as candidates
    where deal_rank = 1
),

final as (
    select
        {{ leak_finding_columns('open_deals', [
            'source_system', 'entity_code', 'customer_id', 'opportunity_id', 'currency_code'
        ], {
            'rule_id': "'L03'",
            'rule_version': "'1'",
            'precedence': '10',
            'lot_key': "'opportunity:' || open_deals.opportunity_id",
            'business_key': 'open_deals.opportunity_id',
            'amount_txn': 'open_deals.amount',
            'event_date': 'open_deals.closed_on',
            'detected_on': 'open_deals.closed_on + cast(open_deals.tolerance_days as integer) + 1',
            'state': "'recoverable'",
            'confidence': "'medium'",
            'owner': "'sales_operations'",
            'evidence': json_object({'opportunity': 'to_jsonb(open_deals)', 'orders': "'[]'::jsonb"}),
        }) }}
    from open_deals
    where not exists (
        select 1
        from answered
        where answered.opportunity_id = open_deals.opportunity_id
    )
)

select * from final
