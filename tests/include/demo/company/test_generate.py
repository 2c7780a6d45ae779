from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from demo.company.calendar import closing_moment
from demo.company.generate import advance, cut_days, generate
from demo.company.model import CRM_OBJECTS, ERP_TABLES, Company, Profile, Record
from o2c.errors import UsageError

DIGITS = {"EUR": 2, "GBP": 2, "USD": 2, "JPY": 0, "KWD": 3}


def rows_by_key(company: Company) -> dict[tuple[str, str], Record]:
    tables = {**company.erp, **company.crm}
    return {(name, str(row.get("id", row.get("Id")))): row for name, rows in tables.items() for row in rows}


def test_same_seed_gives_the_same_company(company: Company) -> None:
    assert generate() == company


def test_other_seed_gives_another_company(company: Company) -> None:
    assert generate(seed=8).erp["so_item"] != company.erp["so_item"]


def test_default_size_and_shape(company: Company) -> None:
    assert company.today == date(2026, 6, 30)
    assert 1_900 <= len(company.erp["so_header"]) <= 2_300
    assert {row["ccy"] for row in company.erp["bill_header"]} == {"EUR", "GBP", "JPY", "KWD", "USD"}
    assert set(company.erp) == set(ERP_TABLES)
    assert all(company.erp[table] for table in ERP_TABLES)
    assert all(company.crm[name] for name in CRM_OBJECTS)


def test_scale_multiplies_the_orders() -> None:
    small, large = (len(generate(scale=scale, months=6).erp["so_header"]) for scale in (1, 4))
    assert 2 <= large / small <= 4


@pytest.mark.parametrize(("months", "scale"), [(5, 1.0), (18, 0.0), (18, -1.0)])
def test_impossible_size_is_refused(months: int, scale: float) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        generate(months=months, scale=scale)


def test_every_row_fills_its_columns(company: Company) -> None:
    for table, columns in ERP_TABLES.items():
        assert all(set(row) == set(columns) for row in company.erp[table]), table


def test_keys_and_references_are_sound(company: Company) -> None:
    erp = company.erp
    keys = {table: {row["id"] for row in rows} for table, rows in erp.items()}
    assert all(len(keys[table]) == len(rows) for table, rows in erp.items())
    references = {
        "so_item": {"so_id": "so_header", "article_id": "article", "parent_item_id": "so_item"},
        "ship_item": {"ship_id": "ship_header", "so_item_id": "so_item"},
        "bill_item": {"bill_id": "bill_header", "so_item_id": "so_item", "ship_item_id": "ship_item"},
        "cash_match": {"bill_id": "bill_header", "receipt_id": "cash_receipt", "credit_id": "credit_header"},
        "credit_header": {"bill_id": "bill_header", "debtor_id": "debtor"},
        "claim": {"bill_id": "bill_header"},
        "ar_correction": {"bill_id": "bill_header", "receipt_id": "cash_receipt"},
    }
    for table, columns in references.items():
        for column, target in columns.items():
            assert {row[column] for row in erp[table]} - {None} <= keys[target], (table, column)


def test_amounts_are_exact_at_minor_units(company: Company) -> None:
    for table, columns in {
        "bill_header": ("net", "tax", "gross"), "credit_header": ("net", "tax", "gross"), "cash_receipt": ("amt",),
        "cash_match": ("amt", "disc_amt"), "ar_correction": ("amt",), "so_header": ("net_total",),
        "gl_balance": ("bal",),
    }.items():  # fmt: skip
        for row in company.erp[table]:
            for column in columns:
                assert isinstance(row[column], Decimal)
                assert row[column] == round(row[column], DIGITS[row["ccy"]]), (table, row["id"])


def test_headers_are_the_sum_of_their_lines(company: Company) -> None:
    for header, line, link in (("bill_header", "bill_item", "bill_id"), ("credit_header", "credit_item", "credit_id")):
        sums: dict[str, list[Decimal]] = {}
        for row in company.erp[line]:
            total = sums.setdefault(row[link], [Decimal(0), Decimal(0)])
            total[0] += row["net"]
            total[1] += row["tax"]
        refused = {row["key"] for row in company.truth["expected_quarantine"]["erp/invoices"]}
        for row in company.erp[header]:
            if row["id"] not in refused:
                assert [row["net"], row["tax"]] == sums[row["id"]]
                assert row["gross"] == row["net"] + row["tax"]


def test_nothing_is_known_before_it_happens(company: Company) -> None:
    now = closing_moment(company.today)
    assert all(row["updated_at"] <= now for row in rows_by_key(company).values())
    assert all(row["booked_day"] <= company.today for row in company.erp["so_header"])
    assert all(row["updated_at"] >= row["gi_ts"] for row in company.erp["ship_header"])


def test_rates_exist_for_every_day_but_the_missing_one(company: Company) -> None:
    missing = company.truth["cases"]["missing_fx_rate"][0]
    days = {(row["base_ccy"], row["quote_ccy"], row["kind"], row["day"].isoformat()) for row in company.erp["fx_quote"]}
    day, expected = date(2025, 1, 1), 0
    while day <= company.today:
        for base in ("GBP", "JPY", "KWD", "USD"):
            for kind in "MC":
                is_there = (base, "EUR", kind, day.isoformat()) in days
                assert is_there != (base == missing["from_currency"] and day.isoformat() == missing["rate_date"])
                expected += is_there
        day += timedelta(days=1)
    assert expected == 8 * 546 - 2


def test_time_moves_on_by_changed_rows_only(company: Company, moved_on: Company) -> None:
    then, before, after = closing_moment(company.today), rows_by_key(company), rows_by_key(moved_on)
    assert moved_on.today == company.today + timedelta(days=7)
    changed = {key for key, row in before.items() if key in after and after[key] != row}
    assert changed
    assert all(after[key]["updated_at"] > then for key in changed)
    assert all(after[key]["updated_at"] > then for key in set(after) - set(before))
    # Next to the week's own business hardly anything moves.
    assert len(changed) < len(before) / 50


def test_time_moving_on_brings_every_kind_of_news(company: Company, moved_on: Company) -> None:
    before, after = rows_by_key(company), rows_by_key(moved_on)
    new = {table for table, _ in set(after) - set(before)}
    assert {"so_header", "ship_header", "bill_header", "cash_receipt", "cash_match", "credit_header"} <= new
    moved = moved_on.truth["cases"]["due_date_moved"]
    assert [after["bill_header", case["invoice_id"]]["first_due_day"].isoformat() for case in moved] == [
        case["original_due_on"] for case in moved
    ]
    for name in ("backdated_application", "late_arriving_credit_memo"):
        assert len(moved_on.truth["cases"][name]) == len(company.truth["cases"][name]) + 1


def test_backdated_application_is_recorded_late(moved_on: Company) -> None:
    matches = {row["id"]: row for row in moved_on.erp["cash_match"]}
    for case in moved_on.truth["cases"]["backdated_application"]:
        row = matches[case["application_id"]]
        assert (row["updated_at"].date() - row["match_day"]).days >= 15


def test_moving_on_twice_is_repeatable() -> None:
    once = advance(generate(months=6, scale=0.3), 7)
    twice = advance(once, 30)
    assert twice == advance(advance(generate(months=6, scale=0.3), 7), 30)
    assert twice.profile.ticks == (7, 30)
    gone = set(rows_by_key(once)) - set(rows_by_key(twice))
    assert sorted(table for table, _ in gone) == ["Opportunity", "claim", "debtor_bank", "price_agreement"]


def test_each_tick_deletes_three_records_of_the_erp_and_a_deal(company: Company, moved_on: Company) -> None:
    gone = set(rows_by_key(company)) - set(rows_by_key(moved_on))
    assert sorted(table for table, _ in gone) == ["Opportunity", "claim", "debtor_bank", "price_agreement"]
    assert not any(company.deleted.values()) and "deleted_in_source" not in company.truth["cases"]
    deleted = {(table, row.get("id") or row["Id"]) for table, rows in moved_on.deleted.items() for row in rows}
    assert deleted == gone
    told = {(case["flow"], case["key"].split("/")[0]) for case in moved_on.truth["cases"]["deleted_in_source"]}
    test_account = next(row["debtor_id"] for row in moved_on.deleted["debtor_bank"])
    keys = {key for table, key in gone if table != "debtor_bank"} | {test_account}
    assert {key for _, key in told} == keys and len(told) == 4


def test_time_does_not_run_backwards(company: Company) -> None:
    with pytest.raises(UsageError, match="cannot move on"):
        advance(company, 0)


def test_cut_days_are_month_ends_and_every_today() -> None:
    cuts = cut_days(Profile(months=6, ticks=(7, 30)))
    assert cuts[-3:] == [date(2025, 7, 7), date(2025, 7, 31), date(2025, 8, 6)]
    assert len(cuts) == 9
