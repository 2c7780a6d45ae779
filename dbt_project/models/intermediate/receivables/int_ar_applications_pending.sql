{{ config(materialized='view') }}

with

applications as (
    select * from {{ ref('stg_receipt_applications') }}
),

documents as (
    select * from {{ ref('int_ar_documents_versioned') }}
    where known_to = {{ end_of_time() }}
),

final as (
    select
        applications.source_system,
        applications.application_id,
        applications.entity_code,
        applications.invoice_id,
        applications.receipt_id,
        applications.credit_memo_id,
        applications.applied_on,
        applications.applied_amount,
        applications.discount_amount,
        applications.currency_code,
        invoices.document_id is null as is_invoice_missing,
        sources.document_id is null as is_source_missing
    from applications
    left join documents as invoices
        on
            applications.source_system = invoices.source_system
            and applications.invoice_id = invoices.document_id
            and invoices.document_class = 'invoice'
    left join documents as sources
        on
            applications.source_system = sources.source_system
            and coalesce(applications.receipt_id, applications.credit_memo_id) = sources.document_id
            and sources.document_class = case when applications.receipt_id is null then 'credit_memo' else 'receipt' end
    where invoices.document_id is null or sources.document_id is null
)

select * from final
