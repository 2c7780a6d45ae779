with

versions as (
    {{ current_versions('project_milestone', ['milestone_id']) }}
),

final as (
    select
        source_system,
        milestone_id,
        order_line_id,
        milestone_name,
        planned_on,
        completed_on,
        accepted_on,
        amount,
        currency_code,
        retention_percent,
        invoice_line_id,
        updated_at,
        _load_id as load_id,
        _published_at as published_at
    from versions
)

select * from final
