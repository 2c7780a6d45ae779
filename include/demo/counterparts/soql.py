"""The part of Salesforce's query language that the CRM counterpart understands, over records held in memory.

``SELECT fields | COUNT() | aggregates FROM object [WHERE ...] [GROUP BY ...] [ORDER BY ...] [LIMIT n]`` with AND, OR,
NOT, parentheses, ``= != < <= > >= LIKE IN NOT IN`` and literals for text, numbers, dates, instants, booleans, null.
Comparisons follow Salesforce: text ignores case, null sorts first, a missing field reads as null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

Record = Mapping[str, Any]
Predicate = Callable[[Record], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<sign><=|>=|!=|<>|[=<>(),]))"
)
_INSTANT_VALUE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_AGGREGATES = {"COUNT", "SUM", "MIN", "MAX", "COUNT_DISTINCT"}
_KEYWORDS = {"FROM", "WHERE", "GROUP", "ORDER", "LIMIT", "AND", "OR", "NOT", "BY"}


class SoqlError(Exception):
    """A query that cannot be answered; ``code`` is the error code that Salesforce gives."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Item:
    """One selected thing: a field, or ``function(field)`` under an alias."""

    field: str
    function: str | None = None
    alias: str = ""


@dataclass(frozen=True)
class Query:
    """A parsed query; ``items`` is empty for a bare ``COUNT()``."""

    items: Sequence[Item]
    object_name: str
    where: Predicate
    fields: frozenset[str]
    group_by: Sequence[str]
    order_by: Sequence[tuple[str, bool, bool]]
    limit: int | None

    @property
    def is_aggregate(self) -> bool:
        """True when the answer has groups instead of records."""
        return bool(self.group_by) or any(item.function for item in self.items)


def parse(text: str) -> Query:
    """Read a query; raises :class:`SoqlError` with ``MALFORMED_QUERY``."""
    return _Parser(text).query()


def field_value(record: Record, path: str) -> Any:
    """The value of a field, or of a field of a parent record (``Account.Name``); None where there is none."""
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def rows(query: Query, records: Iterable[Record]) -> list[Record]:
    """The records or groups that answer the query, in its order."""
    chosen: Iterable[Record] = filter(query.where, records)
    if query.is_aggregate:
        chosen = _groups(query, chosen)
    found = list(chosen)
    for name, descending, nulls_last in reversed(query.order_by):
        found.sort(key=lambda record: _order(field_value(record, name), descending, nulls_last), reverse=descending)
    return found if query.limit is None else found[: query.limit]


def _groups(query: Query, records: Iterable[Record]) -> Iterator[Record]:
    groups: dict[tuple[Any, ...], list[Record]] = {} if query.group_by else {(): []}
    for record in records:
        groups.setdefault(tuple(field_value(record, name) for name in query.group_by), []).append(record)
    for members in groups.values():
        yield {item.alias or item.field: _aggregate(item, members) for item in query.items}


def _aggregate(item: Item, members: Sequence[Record]) -> Any:
    if item.function is None:
        return field_value(members[0], item.field)
    values = [value for member in members if (value := field_value(member, item.field)) is not None]
    if item.function == "COUNT":
        return len(values) if item.field else len(members)
    if item.function == "COUNT_DISTINCT":
        return len(set(values))
    if not values:
        return None
    if item.function == "SUM":
        return sum(values, Decimal(0))
    return min(values, key=_comparable) if item.function == "MIN" else max(values, key=_comparable)


def _order(value: Any, descending: bool, nulls_last: bool) -> tuple[bool, Any]:
    is_null = value is None
    return (is_null is (nulls_last is not descending)), "" if is_null else _comparable(value)


@lru_cache(maxsize=65_536, typed=True)
def _comparable(value: Any) -> Any:
    """Text without case, instants on one clock, numbers and booleans as they are."""
    if isinstance(value, str):
        return _instant(value) if _INSTANT_VALUE.fullmatch(value) else value.casefold()
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _instant(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="microseconds")


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._fields: set[str] = set()

    def query(self) -> Query:
        self._need("SELECT")
        items = self._items()
        self._need("FROM")
        object_name = self._name()
        where = self._any_of() if self._take("WHERE") else _everything
        group_by = self._group_by()
        order_by = self._order_by()
        limit = self._limit()
        if self._at < len(self._tokens):
            raise self._unexpected()
        self._fields.update(item.field for item in items if item.field)
        return Query(items, object_name, where, frozenset(self._fields), group_by, order_by, limit)

    def _items(self) -> list[Item]:
        items = [self._item(0)]
        while self._take(","):
            items.append(self._item(len(items)))
        return [] if items == [Item("", "COUNT", "expr0")] else items

    def _item(self, position: int) -> Item:
        name = self._name()
        if name.upper() not in _AGGREGATES or not self._take("("):
            return Item(name)
        field = "" if self._peek() == ("sign", ")") else self._name()
        self._need(")")
        kind, text = self._peek()
        alias = self._name() if kind == "word" and text.upper() not in _KEYWORDS else f"expr{position}"
        return Item(field, name.upper(), alias)

    def _any_of(self) -> Predicate:
        options = [self._all_of()]
        while self._take("OR"):
            options.append(self._all_of())
        return options[0] if len(options) == 1 else lambda record: any(option(record) for option in options)

    def _all_of(self) -> Predicate:
        parts = [self._condition()]
        while self._take("AND"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else lambda record: all(part(record) for part in parts)

    def _condition(self) -> Predicate:
        if self._take("NOT"):
            inner = self._condition()
            return lambda record: not inner(record)
        if self._take("("):
            inner = self._any_of()
            self._need(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        field = self._name()
        self._fields.add(field)
        if self._take("LIKE"):
            pattern = _like(str(self._literal()))
            return lambda record: bool(pattern.fullmatch(str(field_value(record, field) or "")))
        negated = self._take("NOT")
        if negated or self._peek()[1].upper() == "IN":
            self._need("IN")
            values = {_comparable(value) for value in self._list()}
            return lambda record: (_comparable(field_value(record, field)) in values) is not negated
        kind, sign = self._next()
        if kind != "sign" or sign not in _COMPARE:
            raise self._unexpected(back=1)
        return _compare(field, sign, self._literal())

    def _list(self) -> list[Any]:
        self._need("(")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._need(")")
        return values

    def _literal(self) -> Any:
        kind, text = self._next()
        if kind == "text":
            return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
        if kind == "number":
            return Decimal(text)
        if kind in ("date", "instant"):
            return text
        words = {"TRUE": True, "FALSE": False, "NULL": None}
        if kind == "word" and text.upper() in words:
            return words[text.upper()]
        raise self._unexpected(back=1)

    def _group_by(self) -> list[str]:
        if not self._take("GROUP"):
            return []
        self._need("BY")
        names = [self._name()]
        while self._take(","):
            names.append(self._name())
        self._fields.update(names)
        return names

    def _order_by(self) -> list[tuple[str, bool, bool]]:
        if not self._take("ORDER"):
            return []
        self._need("BY")
        keys = [self._order_key()]
        while self._take(","):
            keys.append(self._order_key())
        self._fields.update(name for name, _, _ in keys)
        return keys

    def _order_key(self) -> tuple[str, bool, bool]:
        name = self._name()
        descending = self._take("DESC")
        if not descending:
            self._take("ASC")
        nulls_last = False
        if self._take("NULLS"):
            nulls_last = self._take("LAST")
            if not nulls_last:
                self._need("FIRST")
        return name, descending, nulls_last

    def _limit(self) -> int | None:
        if not self._take("LIMIT"):
            return None
        kind, text = self._next()
        if kind != "number" or not text.isdigit():
            raise self._unexpected(back=1)
        return int(text)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, word: str) -> bool:
        kind, text = self._peek()
        if kind in ("word", "sign") and text.upper() == word:
            self._at += 1
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected()

    def _name(self) -> str:
        kind, text = self._peek()
        if kind != "word" or text.upper() in _KEYWORDS:
            raise self._unexpected()
        self._at += 1
        return text

    def _unexpected(self, back: int = 0) -> SoqlError:
        self._at -= back
        return SoqlError("MALFORMED_QUERY", f"unexpected token: '{self._peek()[1] or '<EOF>'}'")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SoqlError("MALFORMED_QUERY", f"unexpected char at position {at}")
        yield str(match.lastgroup), match[str(match.lastgroup)]
        at = match.end()


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left != right,
}


def _compare(field: str, sign: str, literal: Any) -> Predicate:
    wanted, holds = _comparable(literal), _COMPARE[sign]
    if sign in ("=", "!=", "<>"):
        return lambda record: holds(_comparable(field_value(record, field)), wanted)

    def ordered(record: Record) -> bool:
        value = field_value(record, field)
        if value is None or wanted is None:
            return False
        try:
            return holds(_comparable(value), wanted)
        except TypeError:
            raise SoqlError(
                "INVALID_FIELD", f"value of filter criterion for field '{field}' must be of its type"
            ) from None

    return ordered


def _like(pattern: str) -> re.Pattern[str]:
    parts = [{"%": ".*", "_": "."}.get(character, re.escape(character)) for character in pattern]
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _everything(_: Record) -> bool:
    return True
