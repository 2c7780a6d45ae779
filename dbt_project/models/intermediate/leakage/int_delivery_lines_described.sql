with

delivery_lines as (
    select * from {{ ref('stg_delivery_lines') }}
),

deliveries as (
    select * from {{ ref('stg_deliveries') }}
),

order_lines as (
    select * from {{ ref('int_order_lines_described') }}
),

returned as (
    select
        source_system,
        delivery_line_id,
        sum(quantity) as returned_quantity
    from {{ ref('stg_return_lines') }}
    where delivery_line_id is not null and received_on <= {{ as_of() }}
    group by source_system, delivery_line_id
),

final as (
    select
        delivery_lines.source_system,
        delivery_lines.delivery_line_id,
        deliveries.delivery_number,
        delivery_lines.order_line_id,
        order_lines.order_id,
        order_lines.entity_code,
        order_lines.customer_id,
        order_lines.product_id,
        deliveries.goods_issue_on,
        deliveries.proof_of_delivery_on,
        case order_lines.billing_trigger
            when 'shipment' then deliveries.goods_issue_on
            when 'proof_of_delivery' then deliveries.proof_of_delivery_on
        end as billable_on,
        delivery_lines.shipped_quantity,
        coalesce(returned.returned_quantity, 0) as returned_quantity,
        order_lines.unit_price,
        order_lines.currency_code,
        order_lines.billing_trigger,
        order_lines.order_type,
        order_lines.customer_kind,
        order_lines.line_kind,
        coalesce(order_lines.cancelled_on <= deliveries.goods_issue_on, false) as is_cancelled_before_issue
    from delivery_lines
    inner join deliveries
        on
            delivery_lines.source_system = deliveries.source_system
            and delivery_lines.delivery_id = deliveries.delivery_id
    inner join order_lines
        on
            delivery_lines.source_system = order_lines.source_system
            and delivery_lines.order_line_id = order_lines.order_line_id
    left join returned
        on
            delivery_lines.source_system = returned.source_system
            and delivery_lines.delivery_line_id = returned.delivery_line_id
)

select * from final
