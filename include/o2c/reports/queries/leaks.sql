select
    finding.finding_id,
    finding.rule_id,
    finding.rule_version,
    finding.source_system,
    finding.entity_code,
    finding.customer_id,
    customer.legal_name as customer_name,
    finding.business_key,
    finding.opportunity_id,
    finding.order_id,
    finding.order_line_id,
    finding.delivery_line_id,
    finding.invoice_id,
    finding.invoice_line_id,
    finding.receipt_id,
    finding.amount_txn,
    finding.currency_code,
    finding.amount_reporting,
    finding.event_date,
    finding.detected_on,
    finding.state,
    finding.confidence,
    finding.owner,
    finding.evidence::text as evidence
from marts_leakage.fct_leak_finding as finding
left join marts_core.dim_customer as customer on finding.linked_customer_id = customer.linked_customer_id
order by
    finding.rule_id collate "C",
    finding.amount_reporting desc nulls last,
    finding.finding_id collate "C"
