with

applications as (
    {{ all_versions('receipt_application', ['application_id']) }}
),

documents as (
    select * from {{ ref('int_ar_documents_versioned') }}
),

-- An application is believed while its invoice and its source are: earlier it waits.
matched as (
    select
        applications.source_system,
        applications.application_id,
        applications.applied_on,
        applications.applied_amount,
        applications.discount_amount,
        applications.currency_code,
        applications.unapplied_on,
        sources.ended_on as source_ended_on,
        sources.movement = 'deposits_applied' as is_deposit,
        invoices.document_id as invoice_id,
        invoices.document_type as invoice_type,
        invoices.entity_code as invoice_entity_code,
        invoices.customer_id as invoice_customer_id,
        sources.document_id as source_id,
        sources.document_type as source_type,
        sources.entity_code as source_entity_code,
        sources.customer_id as source_customer_id,
        applications.known_from as application_known_from,
        invoices.known_from as invoice_known_from,
        sources.known_from as source_known_from,
        applications.known_to as application_known_to,
        invoices.known_to as invoice_known_to,
        sources.known_to as source_known_to,
        applications._load_id as application_load_id,
        invoices.load_id as invoice_load_id,
        sources.load_id as source_load_id,
        applications.next_load_id as application_next_load_id,
        invoices.next_load_id as invoice_next_load_id,
        sources.next_load_id as source_next_load_id
    from applications
    inner join documents as invoices
        on
            applications.source_system = invoices.source_system
            and applications.invoice_id = invoices.document_id
            and invoices.document_class = 'invoice'
            and applications.known_from < invoices.known_to
            and applications.known_to > invoices.known_from
    inner join documents as sources
        on
            applications.source_system = sources.source_system
            and coalesce(applications.receipt_id, applications.credit_memo_id) = sources.document_id
            and sources.document_class = case when applications.receipt_id is null then 'credit_memo' else 'receipt' end
            and applications.known_from < sources.known_to
            and applications.known_to > sources.known_from
            and invoices.known_from < sources.known_to
            and invoices.known_to > sources.known_from
),

final as (
    select
        *,
        -- What came from a receipt ends with it, at the latest.
        case
            when unapplied_on is not null or source_ended_on is not null
                then greatest(
                    applied_on,
                    least(coalesce(unapplied_on, source_ended_on), coalesce(source_ended_on, unapplied_on))
                )
        end as ended_on,
        greatest(application_known_from, invoice_known_from, source_known_from) as known_from,
        least(application_known_to, invoice_known_to, source_known_to) as known_to,
        case greatest(application_known_from, invoice_known_from, source_known_from)
            when application_known_from then application_load_id
            when invoice_known_from then invoice_load_id
            else source_load_id
        end as load_id,
        case least(application_known_to, invoice_known_to, source_known_to)
            when application_known_to then application_next_load_id
            when invoice_known_to then invoice_next_load_id
            else source_next_load_id
        end as next_load_id
    from matched
)

select * from final
