{{ config(tags=['integrity']) }}

-- Opening balance and the named components must give the closing balance of every month.
select *
from {{ ref('rpt_roll_forward_monthly') }}
where difference_amount <> 0
