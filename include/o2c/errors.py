"""Errors a person can act on: what happened, where, and the next step.

Every error that may reach a user derives from :class:`O2CError`; the command line prints it without a
traceback and leaves with its ``exit_code`` (1 = a check failed, 2 = wrong use).
"""

from __future__ import annotations


class O2CError(Exception):
    """What happened, where, and what to do next.

    Args:
        what: one sentence that says what happened.
        where: file, line, flow or key; empty when ``what`` already says it.
        next_step: one sentence that says what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next_step:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)


class UsageError(O2CError):
    """Wrong use: a broken contract file, an unknown flow, a missing setting."""

    exit_code = 2


class SourceError(O2CError):
    """A source did not answer as it should; trying again may help."""


class FatalSourceError(SourceError):
    """A source refused for a reason that trying again cannot cure (``reason`` is a flow's ``retry.fatal`` word)."""

    def __init__(self, what: str, *, reason: str, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.reason = reason


class SchemaDrift(FatalSourceError):
    """A column that the flow reads is gone or has another type (``change``: ``removed`` or ``retyped``)."""

    def __init__(
        self, what: str, *, change: str, column: str, detail: str = "", where: str = "", next_step: str = ""
    ) -> None:
        super().__init__(what, reason="schema_drift", where=where, next_step=next_step)
        self.detail = detail
        self.change = change
        self.column = column


class GateStopped(O2CError):
    """A gate rule that stops the load failed, or the gate could not prove that it ran."""


class LoadNotClosed(O2CError):
    """Source differs from published + quarantined + duplicates, in rows or in money."""


class FenceLost(O2CError):
    """A newer load of the same flow has started; this one may not publish."""


class WarehouseError(O2CError):
    """The warehouse cannot be reached or refused."""
