-- The ERP of the sample company: its own normalised schema with its own names and codes.
-- Every table has a text id and the moment of its last change.
create schema erp;

create table erp.origin (
    seed integer not null,
    scale numeric not null,
    months integer not null
);

create table erp.company (
    id text primary key,
    name text not null,
    ctry text not null,
    book_ccy text not null,
    tz text not null,
    updated_at timestamptz not null
);

create table erp.debtor (
    id text primary key,
    company_id text not null references erp.company,
    name text not null,
    vat_no text,
    group_head_id text references erp.debtor,
    ctry text,
    ccy text,
    pay_days integer,
    disc_pct numeric,
    disc_days integer,
    limit_amt numeric,
    limit_ccy text,
    seg text,
    is_interco boolean not null,
    is_test boolean not null,
    updated_at timestamptz not null
);

create table erp.debtor_bank (
    id text primary key,
    debtor_id text not null references erp.debtor,
    iban text not null,
    known_from date,
    updated_at timestamptz not null
);

create table erp.article (
    id text primary key,
    art_no text not null,
    descr text not null,
    art_kind text not null,
    unit text not null,
    tax_cls text,
    billable boolean not null,
    updated_at timestamptz not null
);

create table erp.fx_quote (
    id text primary key,
    base_ccy text not null,
    quote_ccy text not null,
    kind text not null,
    day date not null,
    value numeric not null,
    updated_at timestamptz not null
);

create table erp.price_agreement (
    id text primary key,
    debtor_id text not null references erp.debtor,
    article_id text not null references erp.article,
    unit text not null,
    ccy text not null,
    from_qty numeric not null,
    price numeric not null,
    start_day date not null,
    end_day date,
    updated_at timestamptz not null
);

create table erp.so_header (
    id text primary key,
    so_no text not null,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    crm_ref text,
    chan text not null,
    kind text not null,
    bill_rule text not null,
    booked_ts timestamptz not null,
    booked_day date not null,
    wanted_day date,
    pay_days integer,
    ccy text not null,
    net_total numeric not null,
    state text not null,
    block_text text,
    cancel_day date,
    updated_at timestamptz not null
);

create table erp.so_item (
    id text primary key,
    so_id text not null references erp.so_header,
    pos integer not null,
    parent_item_id text references erp.so_item,
    article_id text not null references erp.article,
    qty numeric not null,
    unit text not null,
    list_price numeric,
    disc_pct numeric,
    price numeric not null,
    net numeric not null,
    tax_pct numeric,
    promised_day date,
    free_flag boolean not null,
    cancel_day date,
    updated_at timestamptz not null
);

create table erp.ship_header (
    id text primary key,
    ship_no text not null,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    whs text not null,
    picked_ts timestamptz,
    gi_ts timestamptz,
    gi_day date,
    pod_day date,
    updated_at timestamptz not null
);

create table erp.ship_item (
    id text primary key,
    ship_id text not null references erp.ship_header,
    so_item_id text not null references erp.so_item,
    qty_shipped numeric not null,
    qty_confirmed numeric,
    updated_at timestamptz not null
);

create table erp.bill_header (
    id text primary key,
    bill_no text not null,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    doc_kind text not null,
    sale_kind text not null,
    doc_day date not null,
    acct_day date not null,
    sent_ts timestamptz,
    due_day date not null,
    first_due_day date,
    pay_days integer,
    ccy text not null,
    net numeric not null,
    tax numeric not null,
    gross numeric not null,
    state text not null,
    cancel_day date,
    rebill_of text references erp.bill_header,
    updated_at timestamptz not null
);

create table erp.bill_item (
    id text primary key,
    bill_id text not null references erp.bill_header,
    pos integer not null,
    so_item_id text references erp.so_item,
    ship_item_id text references erp.ship_item,
    article_id text references erp.article,
    qty numeric not null,
    price numeric not null,
    net numeric not null,
    tax numeric not null,
    price_approval text,
    updated_at timestamptz not null
);

create table erp.bill_schedule (
    id text primary key,
    bill_id text not null references erp.bill_header,
    part_no integer not null,
    due_day date not null,
    amt numeric not null,
    holdback boolean not null,
    updated_at timestamptz not null
);

create table erp.rma_item (
    id text primary key,
    so_item_id text not null references erp.so_item,
    ship_item_id text references erp.ship_item,
    arrived_day date not null,
    qty numeric not null,
    cond text,
    updated_at timestamptz not null
);

create table erp.credit_header (
    id text primary key,
    credit_no text not null,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    bill_id text references erp.bill_header,
    reason_cd text not null,
    doc_day date not null,
    acct_day date not null,
    ccy text not null,
    net numeric not null,
    tax numeric not null,
    gross numeric not null,
    entered_by text,
    approved_by text,
    updated_at timestamptz not null
);

create table erp.credit_item (
    id text primary key,
    credit_id text not null references erp.credit_header,
    pos integer not null,
    bill_item_id text references erp.bill_item,
    rma_id text references erp.rma_item,
    qty numeric,
    net numeric not null,
    tax numeric not null,
    updated_at timestamptz not null
);

create table erp.cash_receipt (
    id text primary key,
    company_id text not null references erp.company,
    debtor_id text references erp.debtor,
    kind text not null,
    acct_day date not null,
    value_day date,
    amt numeric not null,
    ccy text not null,
    method text not null,
    ref_text text,
    payer text,
    payer_iban text,
    bank_ref text,
    charge_ref text,
    reversed_day date,
    reversal_cd text,
    updated_at timestamptz not null
);

create table erp.cash_match (
    id text primary key,
    company_id text not null references erp.company,
    receipt_id text references erp.cash_receipt,
    credit_id text references erp.credit_header,
    bill_id text not null references erp.bill_header,
    match_day date not null,
    amt numeric not null,
    disc_amt numeric not null,
    disc_kind text,
    ccy text not null,
    undone_day date,
    auto boolean not null,
    updated_at timestamptz not null
);

create table erp.ar_correction (
    id text primary key,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    bill_id text references erp.bill_header,
    receipt_id text references erp.cash_receipt,
    kind text not null,
    acct_day date not null,
    amt numeric not null,
    ccy text not null,
    reason text,
    entered_by text,
    approved_by text,
    updated_at timestamptz not null
);

create table erp.claim (
    id text primary key,
    bill_id text not null references erp.bill_header,
    kind text not null,
    amt numeric not null,
    opened_day date not null,
    closed_day date,
    result text not null,
    handler text,
    updated_at timestamptz not null
);

create table erp.order_block (
    id text primary key,
    so_id text not null references erp.so_header,
    kind text not null,
    set_ts timestamptz not null,
    set_by text,
    freed_ts timestamptz,
    freed_by text,
    why text,
    updated_at timestamptz not null
);

create table erp.abo (
    id text primary key,
    company_id text not null references erp.company,
    debtor_id text not null references erp.debtor,
    so_item_id text references erp.so_item,
    article_id text not null references erp.article,
    start_day date not null,
    end_day date,
    months integer not null,
    qty numeric not null,
    price numeric not null,
    ccy text not null,
    uplift_pct numeric,
    state text not null,
    updated_at timestamptz not null
);

create table erp.abo_period (
    id text primary key,
    abo_id text not null references erp.abo,
    from_day date not null,
    to_day date not null,
    bill_day date not null,
    amt numeric not null,
    kind text not null,
    bill_item_id text references erp.bill_item,
    updated_at timestamptz not null
);

create table erp.milestone (
    id text primary key,
    so_item_id text not null references erp.so_item,
    name text not null,
    plan_day date not null,
    done_day date,
    accept_day date,
    net numeric not null,
    holdback_pct numeric,
    bill_item_id text references erp.bill_item,
    updated_at timestamptz not null
);

create table erp.gl_balance (
    id text primary key,
    company_id text not null references erp.company,
    account text not null,
    acct_name text,
    ar_control boolean not null,
    ccy text not null,
    day date not null,
    bal numeric not null,
    updated_at timestamptz not null
);

-- One index per table for "what changed since", on the pair every reader sorts by.
do $$
declare
    relation text;
begin
    for relation in
        select table_name from information_schema.tables where table_schema = 'erp' and table_name <> 'origin'
    loop
        execute format('create index on erp.%I (updated_at, id)', relation);
    end loop;
end;
$$;
