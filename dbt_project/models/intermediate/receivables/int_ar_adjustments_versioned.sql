{{ config(materialized='view') }}

with

adjustments as (
    {{ all_versions('receivable_adjustment', ['adjustment_id']) }}
),

receipts as (
    select * from {{ ref('stg_receipts') }}
),

invoices as (
    select * from {{ ref('stg_invoices') }}
),

-- Paying back a deposit that was never applied touches the liability, not the receivable.
final as (
    select
        adjustments.source_system,
        'receivable_adjustment:' || adjustments.adjustment_id as source_key,
        adjustments.entity_code,
        adjustments.customer_id,
        case
            when adjustments.adjustment_type = 'refund' then coalesce(adjustments.receipt_id, adjustments.adjustment_id)
            else coalesce(adjustments.invoice_id, adjustments.adjustment_id)
        end as document_id,
        case
            when adjustments.adjustment_type = 'refund' then 'receipt'
            when adjustments.invoice_id is null then 'credit_memo'
            else coalesce(invoices.document_type, 'invoice')
        end as document_type,
        adjustments.adjustment_type as event_type,
        case adjustments.adjustment_type
            when 'write_off' then 'write_offs'
            when 'write_off_reversal' then 'write_off_reversals'
            else 'refunds'
        end as movement,
        adjustments.adjusted_on,
        case when adjustments.adjustment_type = 'write_off' then -1 else 1 end * adjustments.amount as amount_txn,
        adjustments.currency_code,
        adjustments.known_from,
        adjustments.known_to,
        adjustments._load_id as load_id,
        adjustments.next_load_id
    from adjustments
    left join receipts
        on
            adjustments.source_system = receipts.source_system
            and adjustments.receipt_id = receipts.receipt_id
    left join invoices
        on
            adjustments.source_system = invoices.source_system
            and adjustments.invoice_id = invoices.invoice_id
    where adjustments.adjustment_type <> 'refund' or coalesce(receipts.receipt_type, 'payment') = 'payment'
)

select * from final
