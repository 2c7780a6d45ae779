{{ config(tags=['integrity']) }}

-- Receivables must equal the control account of every entity and currency on every day the ledger reported.
select *
from {{ ref('rpt_control_account_tie_out') }}
where difference_amount <> 0
