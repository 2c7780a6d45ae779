"""The small language of rules: a SQL condition over known columns, and nothing else.

A rule stands in a contract file, so its text is checked word by word before it becomes part of a statement:
columns must exist, functions and keywords come from a list, literals are re-quoted.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from o2c.errors import UsageError

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<symbol><=|>=|<>|!=|!~|[=<>+\-*/(),~])
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset("and or not is null in between like true false case when then else end".split())
_FUNCTIONS = frozenset("coalesce abs length upper lower round nullif btrim".split())


def compile_condition(text: str, columns: Collection[str]) -> str:
    """Turn a rule's text into SQL with quoted identifiers.

    Args:
        text: for example ``due_on >= issued_on``.
        columns: names the text may use.

    Returns:
        A SQL boolean expression.

    Raises:
        UsageError: a word is no column, keyword or function; brackets do not match; a character is not allowed.
    """
    parts: list[str] = []
    position = depth = 0
    stripped = text.strip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise UsageError(f"'{stripped[position]}' cannot stand in a rule.", where=text)
        position = match.end()
        token = match.group().strip()
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            break
        parts.append(_word(token, columns, text) if match["word"] else token)
    if depth != 0 or not parts:
        raise UsageError("The brackets of the rule do not match, or it is empty.", where=text)
    return " ".join(parts)


def _word(token: str, columns: Collection[str], text: str) -> str:
    if token in columns:
        return f'"{token}"'
    if token.lower() in _KEYWORDS | _FUNCTIONS:
        return token.lower()
    known = ", ".join(sorted(columns))
    raise UsageError(f"'{token}' is not a column the rule can use.", where=text, next_step=f"Columns: {known}")
