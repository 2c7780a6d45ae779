-- The tables that reports read, with the columns the dbt project gives them.
create schema marts_core;
create schema marts_receivables;
create schema marts_leakage;

create table marts_core.dim_legal_entity (entity_code text, legal_name text, functional_currency_code text);
create table marts_core.dim_customer (linked_customer_id text, legal_name text);

create table marts_receivables.rpt_ageing_monthly (
    as_of_date date, entity_code text, currency_code text, reporting_currency_code text, closing_rate numeric,
    current_amount numeric, days_1_30_amount numeric, days_31_60_amount numeric, days_61_90_amount numeric,
    days_over_90_amount numeric, gross_receivables_amount numeric, unapplied_cash_amount numeric,
    unapplied_credits_amount numeric, net_receivables_amount numeric, intercompany_amount numeric,
    current_amount_reporting numeric, days_1_30_amount_reporting numeric, days_31_60_amount_reporting numeric,
    days_61_90_amount_reporting numeric, days_over_90_amount_reporting numeric,
    gross_receivables_amount_reporting numeric, unapplied_cash_amount_reporting numeric,
    unapplied_credits_amount_reporting numeric, net_receivables_amount_reporting numeric,
    intercompany_amount_reporting numeric
);

create table marts_receivables.rpt_ageing_by_customer (
    as_of_date date, source_system text, entity_code text, customer_id text, customer_name text, currency_code text,
    days_1_30_amount numeric, days_31_60_amount numeric, days_61_90_amount numeric, days_over_90_amount numeric,
    gross_receivables_amount numeric, net_receivables_amount numeric, is_intercompany boolean
);

create table marts_receivables.rpt_dso_monthly (
    as_of_date date, scope text, entity_code text, currency_code text, metric_name text, ar_basis text,
    tax_basis text, fx_basis text, days_in_window integer, numerator_amount numeric, denominator_amount numeric,
    dso_days numeric, null_reason text
);

create table marts_receivables.rpt_control_account_tie_out (
    as_of_date date, entity_code text, currency_code text, subledger_amount numeric,
    control_account_amount numeric, difference_amount numeric, is_tied_out boolean
);

create table marts_leakage.fct_leak_finding (
    finding_id text, rule_id text, rule_version text, source_system text, entity_code text, customer_id text,
    linked_customer_id text, business_key text, opportunity_id text, order_id text, order_line_id text,
    delivery_line_id text, invoice_id text, invoice_line_id text, receipt_id text, amount_txn numeric,
    currency_code text, amount_reporting numeric, event_date date, detected_on date, state text, confidence text,
    owner text, evidence jsonb
);
