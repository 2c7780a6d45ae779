{%- set amount = round_half_even(
    'unbilled.open_quantity * unbilled.unit_price', 'coalesce(currencies.minor_units, 2)'
) -%}

with

delivery_lines as (
    select * from {{ ref('int_delivery_lines_described') }}
),

invoice_lines as (
    select * from {{ ref('int_invoice_lines_in_force') }}
),

currencies as (
    select * from {{ ref('currency_minor_units') }}
),

-- A lot counts as billed by its own line, by a line for the whole order line, or by one without any reference.
unbilled as (
    select
        delivery_lines.*,
        delivery_lines.shipped_quantity - delivery_lines.returned_quantity as open_quantity,
        {{ leak_parameter('L01', 'tolerance_days', 'delivery_lines.entity_code', 'delivery_lines.currency_code') }}
            as tolerance_days
    from delivery_lines
    where
        delivery_lines.billable_on < {{ as_of() }}
        and not delivery_lines.is_cancelled_before_issue
        and {{ not_excluded('L01', 'customer_kind', 'delivery_lines.customer_kind') }}
        and {{ not_excluded('L01', 'customer_id', 'delivery_lines.customer_id') }}
        and {{ not_excluded('L01', 'order_type', 'delivery_lines.order_type') }}
        and {{ not_excluded('L01', 'line_kind', 'delivery_lines.line_kind') }}
        and not exists (
            select 1
            from invoice_lines
            where
                delivery_lines.source_system = invoice_lines.source_system
                and delivery_lines.delivery_line_id = invoice_lines.delivery_line_id
        )
        and not exists (
            select 1
            from invoice_lines
            where
                delivery_lines.source_system = invoice_lines.source_system
                and delivery_lines.order_line_id = invoice_lines.order_line_id
                and invoice_lines.delivery_line_id is null
        )
        and not exists (
            select 1
            from invoice_lines
            where
                delivery_lines.source_system = invoice_lines.source_system
                and delivery_lines.customer_id = invoice_lines.customer_id
                and delivery_lines.product_id = invoice_lines.product_id
                and delivery_lines.shipped_quantity = invoice_lines.quantity
                and delivery_lines.goods_issue_on <= invoice_lines.posted_on
                and invoice_lines.order_line_id is null
                and invoice_lines.delivery_line_id is null
        )
),

final as (
    select
        {{ leak_finding_columns('unbilled', [
            'source_system', 'entity_code', 'customer_id', 'order_id', 'order_line_id', 'delivery_line_id',
            'currency_code'
        ], {
            'rule_id': "'L01'",
            'rule_version': "'1'",
            'precedence': '30',
            'lot_key': "'delivery_line:' || unbilled.delivery_line_id",
            'business_key': 'unbilled.delivery_line_id',
            'amount_txn': amount,
            'event_date': 'unbilled.billable_on',
            'detected_on': 'unbilled.billable_on + cast(unbilled.tolerance_days as integer) + 1',
            'state': "'recoverable'",
            'confidence': "'high'",
            'owner': "'billing'",
            'evidence': json_object({
                'delivery_line': 'to_jsonb(unbilled)',
                'invoice_lines': "'[]'::jsonb",
            }),
        }) }}
    from unbilled
    left join currencies on unbilled.currency_code = currencies.currency_code
    where
        unbilled.billable_on + cast(unbilled.tolerance_days as integer) < {{ as_of() }}
        and unbilled.open_quantity * unbilled.unit_price > 0
)

select * from final
