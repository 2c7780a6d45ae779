{{ config(materialized='view') }}
{#- Both sides of an application, its discount, and for a deposit the moment it becomes a receivable. -#}
{%- set sides = [
    ('invoice', 'invoice', '-applied_amount', 'apply', 'unapply', 'applications', 'applied_amount <> 0'),
    ('source', 'source', 'applied_amount', 'apply', 'unapply', 'applications', 'applied_amount <> 0'),
    ('discount', 'invoice', '-discount_amount', 'discount', 'discount', 'discounts', 'discount_amount <> 0'),
    ('deposit', 'source', '-applied_amount', 'receive', 'reverse', 'deposits_applied',
     'is_deposit and applied_amount <> 0'),
] -%}
with

applications as (
    select * from {{ ref('int_ar_applications_versioned') }}
),

sides as (
    {%- for side, document, amount, start_type, end_type, movement, condition in sides %}
    select
        source_system,
        'receipt_application:' || application_id || ':{{ side }}' as source_key,
        {{ document }}_entity_code as entity_code,
        {{ document }}_customer_id as customer_id,
        {{ document }}_id as document_id,
        {{ document }}_type as document_type,
        case when '{{ document }}' = 'source' then invoice_id else source_id end as apply_to_document_id,
        case when '{{ document }}' = 'source' then invoice_type else source_type end as apply_to_document_type,
        '{{ start_type }}' as start_event_type,
        '{{ end_type }}' as end_event_type,
        '{{ movement }}' as movement,
        applied_on as started_on,
        ended_on,
        {{ amount }} as amount_txn,
        currency_code,
        known_from,
        known_to,
        load_id,
        next_load_id
    from applications
    where {{ condition }}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}
),

final as (
    select * from sides
)

select * from final
