{{ config(materialized='view') }}

with

documents as (
    select * from {{ ref('int_ar_documents_versioned') }}
),

application_sides as (
    select * from {{ ref('int_ar_application_sides') }}
),

adjustments as (
    select * from {{ ref('int_ar_adjustments_versioned') }}
),

final as (
    select
        source_system,
        document_class || ':' || document_id as source_key,
        entity_code,
        customer_id,
        document_id,
        document_type,
        cast(null as text) as apply_to_document_id,
        cast(null as text) as apply_to_document_type,
        case when document_class = 'receipt' then 'receive' else 'issue' end as start_event_type,
        case when document_class = 'receipt' then 'reverse' else 'cancel' end as end_event_type,
        movement,
        posted_on as started_on,
        ended_on,
        amount_txn,
        currency_code,
        known_from,
        known_to,
        load_id,
        next_load_id
    from documents
    -- A deposit is a liability: it enters receivables with its applications.
    where movement <> 'deposits_applied' and amount_txn <> 0

    union all

    select
        source_system,
        source_key,
        entity_code,
        customer_id,
        document_id,
        document_type,
        apply_to_document_id,
        apply_to_document_type,
        start_event_type,
        end_event_type,
        movement,
        started_on,
        ended_on,
        amount_txn,
        currency_code,
        known_from,
        known_to,
        load_id,
        next_load_id
    from application_sides

    union all

    select
        source_system,
        source_key,
        entity_code,
        customer_id,
        document_id,
        document_type,
        cast(null as text) as apply_to_document_id,
        cast(null as text) as apply_to_document_type,
        event_type as start_event_type,
        event_type as end_event_type,
        movement,
        adjusted_on as started_on,
        cast(null as date) as ended_on,
        amount_txn,
        currency_code,
        known_from,
        known_to,
        load_id,
        next_load_id
    from adjustments
)

select * from final
