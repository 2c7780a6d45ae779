{#- A threshold of a rule at as_of, from the row that fits best: entity before currency before general.
    Give both columns with their table, or they mean the columns of the parameters. -#}
{% macro leak_parameter(rule_id, parameter, entity_code, currency_code) -%}
    (
        select parameters.value
        from {{ ref('leak_rule_parameters') }} as parameters
        where
            parameters.rule_id = '{{ rule_id }}'
            and parameters.parameter = '{{ parameter }}'
            and coalesce(nullif(parameters.entity_code, ''), {{ entity_code }}, '') = coalesce({{ entity_code }}, '')
            and coalesce(nullif(parameters.currency_code, ''), {{ currency_code }}) = {{ currency_code }}
            and parameters.expires_on >= {{ as_of() }}
        order by nullif(parameters.entity_code, '') nulls last, nullif(parameters.currency_code, '') nulls last
        limit 1
    )
{%- endmacro %}


{#- True unless a value is on the list of what a rule leaves out at as_of. A missing value is never left out. -#}
{% macro not_excluded(rule_id, attribute, value) -%}
    not exists (
        select 1
        from {{ ref('leak_rule_exclusions') }} as exclusions
        where
            exclusions.rule_id in ('ALL', '{{ rule_id }}')
            and exclusions.attribute = '{{ attribute }}'
            and exclusions.value = {{ value }}
            and exclusions.expires_on >= {{ as_of() }}
    )
{%- endmacro %}


{#- Columns every rule delivers, in order: some taken as they stand in a relation, others stated, the rest empty. -#}
{% macro leak_finding_columns(relation, taken, stated) -%}
    {%- set columns = {
        'rule_id': 'text', 'rule_version': 'text', 'precedence': 'integer', 'lot_key': 'text',
        'source_system': 'text', 'entity_code': 'text', 'customer_id': 'text', 'order_id': 'text',
        'order_line_id': 'text', 'delivery_line_id': 'text', 'invoice_id': 'text', 'invoice_line_id': 'text',
        'opportunity_id': 'text', 'receipt_id': 'text', 'business_key': 'text', 'amount_txn': 'numeric',
        'currency_code': 'text', 'event_date': 'date', 'detected_on': 'date', 'state': 'text', 'confidence': 'text',
        'owner': 'text', 'evidence': 'jsonb',
    } -%}
    {%- for name, type in columns.items() %}
    {%- set expression = relation ~ '.' ~ name if name in taken else stated.get(name, 'null') %}
    cast({{ expression }} as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
