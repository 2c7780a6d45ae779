with

states as (
    select * from {{ ref('int_ar_states') }}
),

-- What a state says happened: its start, and the day it was taken back.
implied as (
    select
        states.*,
        start_event_type as event_type,
        started_on as effective_date,
        amount_txn as signed_amount
    from states

    union all

    select
        states.*,
        end_event_type as event_type,
        ended_on as effective_date,
        -amount_txn as signed_amount
    from states
    where ended_on is not null
),

-- A state is booked when the warehouse learns of it and booked out when it learns better.
booked as (
    select
        implied.*,
        known_from as recorded_at,
        signed_amount as booked_amount,
        load_id as booked_load_id
    from implied

    union all

    select
        implied.*,
        known_to as recorded_at,
        -signed_amount as booked_amount,
        next_load_id as booked_load_id
    from implied
    where known_to < {{ end_of_time() }}
),

-- What a new version did not change cancels out and leaves no event.
changes as (
    select
        source_system,
        source_key,
        entity_code,
        customer_id,
        document_id,
        document_type,
        apply_to_document_id,
        apply_to_document_type,
        event_type,
        movement,
        effective_date,
        recorded_at,
        currency_code,
        sum(booked_amount) as amount_txn,
        max(booked_load_id) as load_id
    from booked
    group by
        source_system,
        source_key,
        entity_code,
        customer_id,
        document_id,
        document_type,
        apply_to_document_id,
        apply_to_document_type,
        event_type,
        movement,
        effective_date,
        recorded_at,
        currency_code
    having sum(booked_amount) <> 0
),

final as (
    select
        {{ hashed_key([
            'source_system', 'source_key', 'event_type', 'movement', 'entity_code', 'customer_id', 'document_id',
            'document_type', 'effective_date', 'recorded_at', 'currency_code'
        ]) }} as event_id,
        source_system,
        entity_code,
        customer_id,
        document_id,
        document_type,
        event_type,
        movement,
        effective_date,
        recorded_at,
        amount_txn,
        currency_code,
        apply_to_document_id,
        apply_to_document_type,
        source_key,
        load_id
    from changes
)

select * from final
