with

invoices as (
    {{ all_versions('invoice', ['invoice_id']) }}
),

credit_memos as (
    {{ all_versions('credit_memo', ['credit_memo_id']) }}
),

receipts as (
    {{ all_versions('receipt', ['receipt_id']) }}
),

final as (
    select
        source_system,
        'invoice' as document_class,
        invoice_id as document_id,
        document_type,
        entity_code,
        customer_id,
        posted_on,
        case when status = 'cancelled' then coalesce(cancelled_on, posted_on) end as ended_on,
        currency_code,
        total_amount as amount_txn,
        case
            when document_type = 'debit_memo' then 'debit_memos'
            when sale_type = 'credit' then 'credit_sales'
            else 'cash_sales'
        end as movement,
        known_from,
        known_to,
        _load_id as load_id,
        next_load_id
    from invoices

    union all

    select
        source_system,
        'credit_memo' as document_class,
        credit_memo_id as document_id,
        'credit_memo' as document_type,
        entity_code,
        customer_id,
        posted_on,
        cast(null as date) as ended_on,
        currency_code,
        -total_amount as amount_txn,
        'credit_memos' as movement,
        known_from,
        known_to,
        _load_id as load_id,
        next_load_id
    from credit_memos

    union all

    select
        source_system,
        'receipt' as document_class,
        receipt_id as document_id,
        'receipt' as document_type,
        entity_code,
        customer_id,
        received_on as posted_on,
        reversed_on as ended_on,
        currency_code,
        -amount as amount_txn,
        case when receipt_type = 'deposit' then 'deposits_applied' else 'cash_received' end as movement,
        known_from,
        known_to,
        _load_id as load_id,
        next_load_id
    from receipts
)

select * from final
