with

order_lines as (
    select * from {{ ref('stg_sales_order_lines') }}
),

orders as (
    select * from {{ ref('stg_sales_orders') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

customers as (
    select * from {{ ref('int_customers_linked') }}
),

final as (
    select
        order_lines.source_system,
        order_lines.order_line_id,
        orders.order_id,
        orders.order_number,
        orders.entity_code,
        orders.customer_id,
        customers.linked_customer_id,
        orders.order_type,
        orders.billing_trigger,
        orders.booked_on,
        order_lines.product_id,
        order_lines.unit_of_measure,
        order_lines.ordered_quantity,
        order_lines.unit_price,
        order_lines.currency_code,
        coalesce(order_lines.cancelled_on, orders.cancelled_on) as cancelled_on,
        customers.customer_kind,
        case
            when order_lines.is_free_of_charge then 'free_of_charge'
            when not products.is_billable then 'non_billable'
            when order_lines.parent_order_line_id is not null then 'kit_component'
        end as line_kind
    from order_lines
    inner join orders
        on
            order_lines.source_system = orders.source_system
            and order_lines.order_id = orders.order_id
    left join products
        on
            order_lines.source_system = products.source_system
            and order_lines.product_id = products.product_id
    left join customers
        on
            orders.source_system = customers.source_system
            and orders.customer_id = customers.customer_id
)

select * from final
