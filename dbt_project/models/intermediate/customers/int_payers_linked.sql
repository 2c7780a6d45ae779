with

bank_accounts as (
    select * from {{ ref('stg_customer_bank_accounts') }}
),

customers as (
    select * from {{ ref('int_customers_linked') }}
),

-- An account number that several customers use names none of them.
final as (
    select
        bank_accounts.iban as payer_iban,
        case when count(distinct customers.linked_customer_id) = 1 then min(customers.linked_customer_id) end
            as linked_customer_id,
        count(distinct customers.linked_customer_id) as customer_count,
        count(distinct customers.linked_customer_id) > 1 as is_ambiguous
    from bank_accounts
    inner join customers
        on
            bank_accounts.source_system = customers.source_system
            and bank_accounts.customer_id = customers.customer_id
    group by bank_accounts.iban
)

select * from final
