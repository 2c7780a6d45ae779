{%- set amount = round_half_even(
    '(priced.contract_unit_price - priced.unit_price) * priced.quantity', 'coalesce(currencies.minor_units, 2)'
) -%}

with

invoice_lines as (
    select * from {{ ref('int_invoice_lines_in_force') }}
),

order_lines as (
    select * from {{ ref('int_order_lines_described') }}
),

contract_prices as (
    select * from {{ ref('stg_contract_prices') }}
),

currencies as (
    select * from {{ ref('currency_minor_units') }}
),

-- The price that holds: the highest tier the ordered quantity reaches, on the day the order was booked.
candidates as (
    select
        invoice_lines.*,
        order_lines.order_id,
        order_lines.booked_on,
        order_lines.ordered_quantity,
        order_lines.unit_of_measure,
        contract_prices.contract_price_id,
        contract_prices.tier_from_quantity,
        contract_prices.valid_from,
        contract_prices.unit_price as contract_unit_price,
        row_number() over (
            partition by invoice_lines.source_system, invoice_lines.invoice_line_id
            order by
                contract_prices.tier_from_quantity desc,
                contract_prices.valid_from desc,
                contract_prices.contract_price_id
        ) as price_rank
    from invoice_lines
    inner join order_lines
        on
            invoice_lines.source_system = order_lines.source_system
            and invoice_lines.order_line_id = order_lines.order_line_id
    inner join contract_prices
        on
            order_lines.source_system = contract_prices.source_system
            and order_lines.customer_id = contract_prices.customer_id
            and order_lines.product_id = contract_prices.product_id
            and order_lines.unit_of_measure = contract_prices.unit_of_measure
            and invoice_lines.currency_code = contract_prices.currency_code
            and order_lines.ordered_quantity >= contract_prices.tier_from_quantity
            and order_lines.booked_on >= contract_prices.valid_from
            and (contract_prices.valid_to is null or order_lines.booked_on <= contract_prices.valid_to)
    where
        not invoice_lines.is_replaced
        and invoice_lines.special_price_reference is null
        and order_lines.cancelled_on is null
        and {{ not_excluded('L05', 'customer_kind', 'order_lines.customer_kind') }}
        and {{ not_excluded('L05', 'customer_id', 'order_lines.customer_id') }}
        and {{ not_excluded('L05', 'order_type', 'order_lines.order_type') }}
        and {{ not_excluded('L05', 'line_kind', 'order_lines.line_kind') }}
),

priced as (
    select * from candidates
    where price_rank = 1 and contract_unit_price > unit_price
),

final as (
    select
        {{ leak_finding_columns('priced', [
            'source_system', 'entity_code', 'customer_id', 'order_id', 'order_line_id', 'delivery_line_id',
            'invoice_id', 'invoice_line_id', 'currency_code'
        ], {
            'rule_id': "'L05'",
            'rule_version': "'1'",
            'precedence': '60',
            'lot_key': "'invoice_line:' || priced.invoice_line_id",
            'business_key': 'priced.invoice_line_id',
            'amount_txn': amount,
            'event_date': 'priced.posted_on',
            'detected_on': 'priced.posted_on',
            'state': "'recoverable'",
            'confidence': "'high'",
            'owner': "'pricing'",
            'evidence': json_object({'priced_line': 'to_jsonb(priced)'}),
        }) }}
    from priced
    left join currencies on priced.currency_code = currencies.currency_code
    where
        priced.contract_unit_price - priced.unit_price > priced.contract_unit_price
        * {{ leak_parameter('L05', 'price_tolerance', 'priced.entity_code', 'priced.currency_code') }}
)

select * from final
