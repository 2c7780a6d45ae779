"""Every metric by name, for whoever compares all of them: a function of the book that gives one figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from oracle.book import Book
from oracle.metrics import ageing, billing, cash, collection, credit, disputes, dso, fulfilment, loss, payment
from oracle.metrics.ageing import EDGES, RETENTION
from oracle.result import Result, amount

Metric = Callable[[Book], Result]


def _basis(basis: str, metric: Metric) -> Metric:
    return lambda book: metric(book.with_(ar_basis=basis))


def _bucket(name: str, basis: str) -> Metric:
    return lambda book: amount(
        f"ageing_{basis}_{name}", ageing.ageing(book, basis=basis).buckets[name], book.parameters
    )


def _balance(name: str) -> Metric:
    return lambda book: amount(name, getattr(book.balance(book.parameters.as_of), name), book.parameters)


def _roll(name: str, kind: str) -> Metric:
    return lambda book: loss.roll_rates(book)[name][kind]


def _auto_match(level: str) -> Metric:
    return lambda book: cash.auto_match(book, level=level)


def _on_both(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    bases = {"gross": "gross_invoices", "net": "net_of_unapplied"}
    return {f"{name}_{short}": _basis(basis, run) for name, run in metrics.items() for short, basis in bases.items()}


def _provision(book: Book) -> Result:
    return loss.provision(book, loss.loss_rates(loss.transitions(book, loss.month_ends(book, 6))))


RECEIVABLES: dict[str, Metric] = {
    **{name: _balance(name) for name in ("gross", "unapplied_cash", "unidentified_cash", "deposits")},
    **{name: _balance(name) for name in ("unapplied_credits", "unapplied", "net")},
    **{f"ageing_due_{name}": _bucket(name, "due") for name in [*ageing.labels(EDGES, "due"), RETENTION]},
    **{f"ageing_invoice_{name}": _bucket(name, "invoice") for name in [*ageing.labels(EDGES, "invoice"), RETENTION]},
    "percent_current": lambda book: ageing.share(book, "current"),
    "percent_90+": lambda book: ageing.share(book, "90+"),
    "re_aged": lambda book: amount("re_aged", ageing.re_aged(book)[0], book.parameters),
    "intercompany_excluded": lambda book: amount("intercompany_excluded", ageing.intercompany_excluded(book)),
    **_on_both(
        {
            "dso_simple": dso.simple,
            "dso_average": dso.average,
            "dso_rolling_3": lambda book: dso.rolling(book, 3),
            "dso_rolling_12": lambda book: dso.rolling(book, 12),
            "dso_countback": dso.countback,
            "bpdso": dso.best_possible,
            "add": dso.delinquent,
            "dso_ex_disputes": dso.without_disputes,
            "dso_ex_not_yet_due": dso.without_not_yet_due,
            "cei_window": collection.cei_window,
            "cei_summed": collection.cei_summed,
            "cash_cei_summed": lambda book: collection.cei_summed(book, cash=True),
            "turnover_two_point": collection.turnover,
            "turnover_month_ends": lambda book: collection.turnover(book, points="month_ends"),
            "turnover_days": collection.turnover_days,
        }
    ),
    "unapplied_effect": dso.unapplied_effect,
    "dso_gross_less_applied_credits": dso.gross_on_sales_less_applied_credits,
    "age_weighted_exposure": dso.age_weighted_exposure,
    "age_weighted_exposure_open": lambda book: dso.age_weighted_exposure(book, of="open"),
    "days_to_pay_application": payment.days_to_pay,
    "days_to_pay_receipt": lambda book: payment.days_to_pay(book, until="receipt"),
    "days_late_signed": payment.days_late,
    "days_late_floored": lambda book: payment.days_late(book, floored=True),
    "terms_issued": payment.terms,
    "terms_settled": lambda book: payment.terms(book, population="settled"),
    "on_time_amount": payment.on_time,
    "on_time_count": lambda book: payment.on_time(book, by="count"),
    **{f"roll_{kind}_{name}": _roll(name, kind) for name in ageing.labels() for kind in ("next_bucket", "any_worse")},
    "provision": _provision,
    "bad_debt_rate": lambda book: loss.bad_debt(book, 12),
    "bad_debt_rate_3": lambda book: loss.bad_debt(book, 3),
    "top_10_open": collection.concentration,
    "top_1_past_due": lambda book: collection.concentration(book, 1, of="past_due"),
    "cash_application_days": cash.application_time,
    "applied_same_day": cash.applied_within,
    "applied_by_next_business_day": lambda book: cash.applied_within(book, next_day=True),
    **{f"auto_match_{level}": _auto_match(level) for level in cash.LEVELS},
    "false_application_rate": cash.false_application,
    "dispute_rate_count": disputes.dispute_rate,
    "dispute_rate_amount": lambda book: disputes.dispute_rate(book, by="amount"),
    "dispute_resolution_days": lambda book: disputes.dispute_time(book).mean,
}

OPERATIONS: dict[str, Metric] = {
    "order_to_invoice_hours": lambda book: billing.order_to_invoice(book).mean,
    "shipment_to_invoice_hours": lambda book: billing.shipment_to_invoice(book).mean,
    "billing_error_rate_count": billing.error_rate,
    "billing_error_rate_amount": lambda book: billing.error_rate(book, by="amount"),
    "fulfilment_days_gross": fulfilment.fulfilment_time,
    "fulfilment_days_net": lambda book: fulfilment.fulfilment_time(book, net_of_dwell=True),
    "perfect_order": fulfilment.perfect_order,
    "otif_order": fulfilment.otif,
    "otif_line": lambda book: fulfilment.otif(book, level="line"),
    "fill_rate": fulfilment.fill_rate,
    "backorder_rate": lambda book: fulfilment.fill_rate(book, backorders=True),
    "order_to_cash": lambda book: fulfilment.order_to_cash(book).whole,
    "holds_open": lambda book: amount("holds_open", Fraction(credit.holds(book).open_count)),
    "credit_utilisation_C0001": lambda book: credit.utilisation(book, "C0001"),
}

ALL: dict[str, Metric] = {**RECEIVABLES, **OPERATIONS}
