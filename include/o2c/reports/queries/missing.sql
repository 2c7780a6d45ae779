select required.name
from
    unnest(array[
        'ops.load',
        'ops.load_ledger',
        'ops.load_ledger_total',
        'ops.gate_result',
        'quarantine.record',
        'marts_core.dim_customer',
        'marts_core.dim_legal_entity',
        'marts_receivables.rpt_ageing_monthly',
        'marts_receivables.rpt_ageing_by_customer',
        'marts_receivables.rpt_dso_monthly',
        'marts_receivables.rpt_control_account_tie_out',
        'marts_leakage.fct_leak_finding'
    ]) as required (name)
where to_regclass(required.name) is null
