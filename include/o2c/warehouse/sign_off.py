"""Sign-off: a person confirms a load, a run or a period, and it is not the one who published it."""

from __future__ import annotations

import re

import psycopg

from o2c.errors import UsageError
from o2c.version import actor, code_version
from o2c.warehouse.evidence import Head, append

_LOAD = re.compile(r"L\d{9,}")
# Who published what is signed off: a load, or all loads of a run.
_PUBLISHERS = """
select distinct e.actor from ops.evidence as e
where e.kind <> 'sign_off' and (
    e.subject = %(subject)s
    or e.subject in (select l.load_id from ops.load_ledger as l where l.run_id = %(subject)s)
)
"""


def sign_off(connection: psycopg.Connection, subject: str, by: str, conclusion: str) -> Head:
    """Append a sign-off in the caller's transaction.

    Args:
        connection: to the warehouse.
        subject: a load id, a run id, a contract, or words of your own such as ``close 2026-06``.
        by: who signs.
        conclusion: what was looked at and found; no personal data.

    Raises:
        UsageError: a name or a conclusion is missing, the load does not exist, or who signs is who published.
    """
    subject, by, conclusion = (_line(text) for text in (subject, by, conclusion))
    if not (subject and by and conclusion):
        raise UsageError(
            "A sign-off needs its subject, a name and a conclusion.",
            next_step="Write: o2c sign-off SUBJECT --by NAME --conclusion TEXT",
        )
    publishers = {name for (name,) in connection.execute(_PUBLISHERS, {"subject": subject})}
    if _LOAD.fullmatch(subject) and not publishers:
        raise UsageError(f"There is no load '{subject}'.", next_step="See 'o2c status' for the loads.")
    if by.casefold() in {name.casefold() for name in publishers}:
        raise UsageError(
            f"'{by}' has worked on {subject} and cannot sign it off.",
            where="ops.evidence",
            next_step="Somebody else has to look at it and sign.",
        )
    body = {"conclusion": conclusion, "recorded_by": actor(), "code_version": code_version()}
    return append(connection, "sign_off", subject, body, by=by)


def _line(text: str) -> str:
    return " ".join(text.split())
