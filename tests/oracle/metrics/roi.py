"""Return on automation (requirements 1.12): measured inputs, and those a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class RoiInput:
    """Money in one currency. ``work``: monthly volume, minutes for each, share that can be automated, by kind.

    ``fewer_errors``: corrections avoided in a month; ``recovered_leakage`` and ``running_cost``: a year.
    """

    work: Mapping[str, tuple[Fraction, Fraction, Fraction]]
    hourly_cost: Fraction
    fewer_errors: Fraction
    cost_per_correction: Fraction
    annual_credit_sales: Fraction
    dso_reduction: Fraction  # days
    cost_of_capital: Fraction
    leakage_found: Fraction
    recovery_rate: Fraction
    bad_debt_reduction: Fraction  # share of credit sales
    one_off_cost: Fraction
    running_cost: Fraction


@dataclass(frozen=True)
class Roi:
    admin_saving: Fraction
    error_saving: Fraction
    financing_benefit: Fraction
    recovered_leakage: Fraction
    bad_debt_saving: Fraction
    running_cost: Fraction
    cash_released: Fraction  # once, a gain of time: not in the benefit
    one_off_cost: Fraction
    reason: str | None = field(default=None)

    @property
    def net_annual_benefit(self) -> Fraction:
        saved = self.admin_saving + self.error_saving + self.financing_benefit + self.recovered_leakage
        return saved + self.bad_debt_saving - self.running_cost

    @property
    def net_monthly_benefit(self) -> Fraction:
        return self.net_annual_benefit / 12

    @property
    def payback_months(self) -> Fraction | None:
        """None where nothing is gained: it never pays back."""
        return self.one_off_cost / self.net_monthly_benefit if self.net_monthly_benefit > 0 else None


def roi(given: RoiInput) -> Roi:
    """ROI-09 names the bad-debt change as an input and the formula of the benefit leaves it out: it is counted,
    as a line of its own, and 0 unless it is given."""
    minutes = sum((volume * each * share for volume, each, share in given.work.values()), Fraction(0))
    released = given.dso_reduction * given.annual_credit_sales / 365
    return Roi(
        admin_saving=minutes / 60 * given.hourly_cost * 12,
        error_saving=given.fewer_errors * given.cost_per_correction * 12,
        financing_benefit=released * given.cost_of_capital,
        recovered_leakage=given.leakage_found * given.recovery_rate,
        bad_debt_saving=given.annual_credit_sales * given.bad_debt_reduction,
        running_cost=given.running_cost,
        cash_released=released,
        one_off_cost=given.one_off_cost,
    )
