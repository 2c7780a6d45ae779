{%- set masters = "'" ~ var('customer_master_systems') | join("', '") ~ "'" -%}

with

customers as (
    select
        *,
        source_system in ({{ masters }}) as is_master,
        nullif(upper(regexp_replace(coalesce(tax_id, ''), '[^0-9A-Za-z]', '', 'g')), '') as tax_key
    from {{ ref('stg_customers') }}
),

-- Accounts that share a tax id are one customer; the first account of the master system gives it its key.
tax_groups as (
    select
        tax_key,
        source_system || ':' || customer_id as linked_customer_id
    from (
        select
            *,
            row_number() over (
                partition by tax_key
                order by is_master desc, source_system, customer_id
            ) as account_rank
        from customers
        where tax_key is not null
    ) as ranked
    where account_rank = 1
),

-- A crosswalk names an account of the master systems; more than one of that name is no link.
crosswalks as (
    select
        customers.source_system,
        customers.customer_id,
        min(masters.source_system || ':' || masters.customer_id) as master_key,
        min(masters.tax_key) as master_tax_key
    from customers
    inner join customers as masters
        on
            customers.erp_customer_id = masters.customer_id
            and masters.is_master
            and customers.source_system <> masters.source_system
    group by customers.source_system, customers.customer_id
    having count(*) = 1
),

linked as (
    select
        customers.*,
        case
            when crosswalks.master_key is not null
                then coalesce(master_groups.linked_customer_id, crosswalks.master_key)
            else coalesce(own_groups.linked_customer_id, customers.source_system || ':' || customers.customer_id)
        end as linked_customer_id,
        case
            when crosswalks.master_key is not null then 'crosswalk'
            when own_groups.linked_customer_id <> customers.source_system || ':' || customers.customer_id then 'tax_id'
            else 'none'
        end as link_method
    from customers
    left join crosswalks
        on
            customers.source_system = crosswalks.source_system
            and customers.customer_id = crosswalks.customer_id
    left join tax_groups as master_groups on crosswalks.master_tax_key = master_groups.tax_key
    left join tax_groups as own_groups on customers.tax_key = own_groups.tax_key
),

flagged as (
    select
        source_system,
        customer_id,
        linked_customer_id,
        link_method,
        is_master,
        bool_or(coalesce(is_intercompany, false)) over (partition by linked_customer_id) as is_intercompany,
        bool_or(coalesce(is_test, false)) over (partition by linked_customer_id) as is_test
    from linked
),

final as (
    select
        *,
        case
            when is_intercompany then 'intercompany'
            when is_test then 'test'
        end as customer_kind
    from flagged
)

select * from final
