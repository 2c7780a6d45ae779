{%- set parameters = ['tolerance_days', 'minimum_paid_share', 'residual_share', 'residual_floor'] -%}

with

residuals as (
    select
        {%- for parameter in parameters %}
        {{ leak_parameter('L13', parameter, 'invoices.entity_code', 'invoices.currency_code') }} as {{ parameter }},
        {%- endfor %}
        invoices.*
    from {{ ref('int_invoice_residuals') }} as invoices
    where invoices.last_due_on < {{ as_of() }}
),

customers as (
    select * from {{ ref('int_customers_linked') }}
),

events as (
    select * from {{ ref('fct_ar_event') }}
    where
        effective_date <= {{ as_of() }}
        and document_type in ('invoice', 'debit_memo')
        and event_type in ('apply', 'unapply')
),

settled as (
    select
        residuals.source_system,
        residuals.invoice_id,
        -coalesce(sum(events.amount_txn) filter (where events.apply_to_document_type = 'receipt'), 0) as cash_amount,
        max(events.effective_date) filter (where events.event_type = 'apply') as last_applied_on,
        (array_agg(events.apply_to_document_id order by events.effective_date desc, events.event_id) filter (
            where events.event_type = 'apply' and events.apply_to_document_type = 'receipt'
        ))[1] as receipt_id,
        jsonb_agg({{ json_object({
            'document_id': 'events.apply_to_document_id',
            'event_type': 'events.event_type',
            'effective_date': 'events.effective_date',
            'amount': 'events.amount_txn',
        }) }} order by events.effective_date, events.event_id) as applications
    from residuals
    inner join events
        on
            residuals.source_system = events.source_system
            and residuals.invoice_id = events.document_id
    group by residuals.source_system, residuals.invoice_id
),

short_paid as (
    select
        residuals.*,
        settled.cash_amount,
        settled.last_applied_on,
        settled.applications,
        settled.receipt_id
    from residuals
    inner join settled
        on
            residuals.source_system = settled.source_system
            and residuals.invoice_id = settled.invoice_id
    left join customers
        on
            residuals.source_system = customers.source_system
            and residuals.customer_id = customers.customer_id
    where
        settled.cash_amount >= residuals.minimum_paid_share * residuals.total_amount
        and residuals.residual_amount > greatest(
            residuals.residual_share * residuals.total_amount, residuals.residual_floor
        )
        and settled.last_applied_on + cast(residuals.tolerance_days as integer) < {{ as_of() }}
        and residuals.disputed_amount < residuals.residual_amount
        and {{ not_excluded('L13', 'customer_kind', 'customers.customer_kind') }}
        and {{ not_excluded('L13', 'customer_id', 'residuals.customer_id') }}
),

final as (
    select
        {{ leak_finding_columns('short_paid', [
            'source_system', 'entity_code', 'customer_id', 'invoice_id', 'receipt_id', 'currency_code'
        ], {
            'rule_id': "'L13'",
            'rule_version': "'1'",
            'precedence': '110',
            'lot_key': "'invoice:' || invoice_id",
            'business_key': 'invoice_id',
            'amount_txn': 'residual_amount',
            'event_date': 'last_applied_on',
            'detected_on': 'greatest(last_applied_on + cast(tolerance_days as integer), last_due_on) + 1',
            'state': "'recoverable'",
            'confidence': "'high'",
            'owner': "'collections'",
            'evidence': json_object({'invoice': 'to_jsonb(short_paid)'}),
        }) }}
    from short_paid
)

select * from final
