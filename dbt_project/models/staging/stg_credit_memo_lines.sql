with

versions as (
    {{ current_versions('credit_memo_line', ['credit_memo_line_id']) }}
),

final as (
    select
        source_system,
        credit_memo_line_id,
        credit_memo_id,
        line_number,
        invoice_line_id,
        return_line_id,
        quantity,
        net_amount,
        tax_amount,
        currency_code,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
