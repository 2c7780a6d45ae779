with

customers as (
    select * from {{ ref('stg_customers') }}
),

links as (
    select * from {{ ref('int_customers_linked') }}
),

payers as (
    select
        linked_customer_id,
        count(*) as payer_account_count
    from {{ ref('int_payers_linked') }}
    where not is_ambiguous
    group by linked_customer_id
),

-- The account that gave the customer its key speaks for it.
accounts as (
    select
        customers.*,
        links.linked_customer_id,
        links.is_intercompany as is_intercompany_customer,
        links.is_test as is_test_customer,
        row_number() over (
            partition by links.linked_customer_id
            order by
                case
                    when customers.source_system || ':' || customers.customer_id = links.linked_customer_id then 0
                    when links.is_master then 1
                    else 2
                end,
                customers.source_system,
                customers.customer_id
        ) as account_rank,
        count(*) over (partition by links.linked_customer_id) as account_count,
        count(case when links.is_master then 1 end) over (partition by links.linked_customer_id)
            as master_account_count
    from links
    inner join customers
        on
            links.source_system = customers.source_system
            and links.customer_id = customers.customer_id
),

final as (
    select
        accounts.linked_customer_id,
        accounts.source_system,
        accounts.customer_id,
        accounts.entity_code,
        accounts.legal_name,
        accounts.tax_id,
        accounts.parent_customer_id,
        accounts.country_code,
        accounts.segment,
        accounts.currency_code,
        accounts.payment_terms_days,
        accounts.credit_limit_amount,
        accounts.credit_limit_currency_code,
        accounts.account_count,
        accounts.master_account_count,
        coalesce(payers.payer_account_count, 0) as payer_account_count,
        accounts.is_intercompany_customer as is_intercompany,
        accounts.is_test_customer as is_test
    from accounts
    left join payers on accounts.linked_customer_id = payers.linked_customer_id
    where accounts.account_rank = 1
)

select * from final
