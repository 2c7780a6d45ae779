"""The small language of rules: a SQL condition over known columns, and nothing else.

A rule stands in a contract file, so its text is checked word by word before it becomes part of a statement:
columns must exist, functions and keywords come from a list, literals are re-quoted, and the whole must be one
complete condition. What passes here, Postgres can parse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

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
_COMPARISONS = frozenset("= <> != < <= > >= ~ !~".split())
_END = ""


def compile_condition(text: str, columns: Collection[str] | None, written_as: Mapping[str, str] | None = None) -> str:
    """Turn a rule's text into SQL with quoted identifiers.

    Args:
        text: for example ``due_on >= issued_on``.
        columns: names the text may use; None where they are not known yet and any name will do.
        written_as: the SQL that stands for a column; the quoted name where it says nothing.

    Returns:
        A SQL boolean expression.

    Raises:
        UsageError: a word is no column, keyword or function; brackets do not match; the condition is not complete;
            a character is not allowed.
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
    _Grammar(parts, text).check()
    # A name in quotes is a column: nothing else begins with a double quote.
    in_sql = {f'"{name}"': text for name, text in (written_as or {}).items()}
    return " ".join(in_sql.get(part, part) for part in parts)


def _word(token: str, columns: Collection[str] | None, text: str) -> str:
    if columns is not None and token in columns:
        return f'"{token}"'
    if token.lower() in _KEYWORDS | _FUNCTIONS:
        return token.lower()
    if columns is None:
        return f'"{token}"'
    known = ", ".join(sorted(columns))
    raise UsageError(f"'{token}' is not a column the rule can use.", where=text, next_step=f"Columns: {known}")


class _Grammar:
    """Walks the words once and stops at the first that cannot stand where it stands."""

    def __init__(self, words: list[str], text: str) -> None:
        self._words = [*words, _END]
        self._at = 0
        self._text = text

    def check(self) -> None:
        self._condition()
        self._need(_END)

    def _next(self, *expected: str) -> bool:
        if self._words[self._at] not in expected:
            return False
        self._at += 1
        return True

    def _need(self, expected: str) -> None:
        if not self._next(expected):
            raise self._stuck()

    def _stuck(self) -> UsageError:
        word = self._words[self._at]
        what = f"The rule cannot be read from '{word}' on." if word else "The rule is not complete."
        return UsageError(what, where=self._text)

    def _condition(self) -> None:
        while True:
            while self._next("not"):
                pass
            self._comparison()
            if not self._next("and", "or"):
                return

    def _comparison(self) -> None:
        self._sum()
        if self._next(*_COMPARISONS):
            self._sum()
        elif self._next("is"):
            self._next("not")
            if not self._next("null", "true", "false"):
                raise self._stuck()
        else:
            negated = self._next("not")
            if self._next("in"):
                self._arguments()
            elif self._next("like"):
                self._sum()
            elif self._next("between"):
                self._sum()
                self._need("and")
                self._sum()
            elif negated:
                raise self._stuck()

    def _sum(self) -> None:
        while True:
            while self._next("-", "+"):
                pass
            self._operand()
            if not self._next("+", "-", "*", "/"):
                return

    def _operand(self) -> None:
        if self._next("("):
            self._condition()
            self._need(")")
        elif self._next("case"):
            self._case()
        elif self._words[self._at] in _FUNCTIONS:
            self._at += 1
            self._arguments()
        elif self._words[self._at][:1] in tuple("'\"0123456789") or self._words[self._at] in ("true", "false", "null"):
            self._at += 1
        else:
            raise self._stuck()

    def _arguments(self) -> None:
        self._need("(")
        self._condition()
        while self._next(","):
            self._condition()
        self._need(")")

    def _case(self) -> None:
        if self._words[self._at] != "when":
            self._condition()
        self._need("when")
        while True:
            self._condition()
            self._need("then")
            self._condition()
            if not self._next("when"):
                break
        if self._next("else"):
            self._condition()
        self._need("end")
