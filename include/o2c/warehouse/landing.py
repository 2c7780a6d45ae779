"""Landing: stream a source's parts into files and into one LOGGED table of text, counted on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.errors import FatalSourceError, LoadNotClosed, SchemaDrift
from o2c.failpoints import reached
from o2c.protection.mask import holds_mask
from o2c.warehouse.meter import MoneyColumns, Totals, metered


@dataclass
class Landed:
    """What one load has landed: the table's columns, the parts' row ranges, totals and rows COPY has taken.

    The cursor may move up to ``cursor_limit`` (an ISO instant), or not at all when it is held. ``is_masked`` when a
    block may hold the mask of a card number.
    """

    table: str
    columns: dict[str, str] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    copied_rows: int = 0
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    cursor_limit: str | None = None
    is_cursor_held: bool = False
    is_masked: bool = False


class LandingTable:
    """Writes parts into ``landing.<table>`` inside the caller's transaction."""

    def __init__(
        self, connection: psycopg.Connection, flow: Flow, table: str, known_columns: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._flow = flow
        self._known_columns = known_columns
        self._identifier = sql.Identifier("landing", table)
        self.landed = Landed(table)

    def copy(self, name: str, columns: Sequence[str], blocks: Iterator[bytes], delimiter: str) -> int:
        """COPY one part; returns its rows.

        Raises:
            FatalSourceError: a needed column is missing (``schema_drift``), or COPY refuses a record
                (``malformed_file``, with its line).
            LoadNotClosed: COPY and the count beside it disagree.
        """
        self._check_columns(name, columns)
        if not self.landed.columns:
            self._create(columns)
        before = self.landed.totals.rows
        money = self._money(columns)
        stream = metered(blocks, len(columns), delimiter, money, self.landed.totals, f"{self._flow.name}: {name}")
        rows = self._copy(name, columns, stream, delimiter)
        counted = self.landed.totals.rows - before
        if rows != counted:
            raise LoadNotClosed(
                f"The database took {rows} records, the file holds {counted}.",
                where=f"{self._flow.name}: {name}",
                next_step="Look for a line that ends the data early, such as '\\.', or for broken quotes.",
            )
        first = self.landed.copied_rows + 1
        self.landed.copied_rows += rows
        self.landed.ranges.append((name, first, self.landed.copied_rows))
        return rows

    def _check_columns(self, name: str, columns: Sequence[str]) -> None:
        missing = [column for column in self._flow.source_columns if column not in columns]
        if missing:
            target = next((key for key, spec in self._flow.mapping.items() if missing[0] in spec.sources), None)
            key = ("mapping", target) if target else ("source", "cursor")
            raise SchemaDrift(
                f"The column '{missing[0]}' is missing in {name}.",
                change="removed",
                column=missing[0],
                where=self._flow.where(*key),
                next_step=f"{self._renamed(columns)}Columns found: {', '.join(columns)}."
                " Ask the source's owner, or change the mapping.",
            )

    def _renamed(self, columns: Sequence[str]) -> str:
        """The columns that a missing one may be called now: those that were not there before."""
        new = [column for column in columns if column not in self._known_columns]
        return f"It may be called {' or '.join(new)} now. " if self._known_columns and new else ""

    def _create(self, columns: Sequence[str]) -> None:
        self.landed.columns = {column: f"c{index:03d}" for index, column in enumerate(columns, start=1)}
        body = ", ".join(f"{name} text" for name in self.landed.columns.values())
        self._connection.execute(
            sql.SQL("create table {} (_row bigint generated always as identity, ").format(self._identifier)
            + sql.SQL(body)
            + sql.SQL(")")
        )

    def _money(self, columns: Sequence[str]) -> MoneyColumns | None:
        source = money_source(self._flow)
        if source is None:
            return None
        amount, currency = source
        style = self._flow.source.get("format") or {}
        position = list(columns).index(currency[0]) if isinstance(currency, tuple) else currency
        return MoneyColumns(
            list(columns).index(amount), position, style.get("decimal", "."), style.get("thousands", "")
        )

    def _copy(self, name: str, columns: Sequence[str], blocks: Iterator[bytes], delimiter: str) -> int:
        names = [self.landed.columns.get(column) for column in columns]
        if None in names or len(names) != len(self.landed.columns):
            raise FatalSourceError(
                f"The columns of {name} differ from those of the files before it.",
                reason="schema_drift",
                where=self._flow.where("source"),
                next_step="Load files of one layout at a time.",
            )
        fields = sql.SQL(", ").join(sql.Identifier(column or "") for column in names)
        # A field without content means "nothing", quoted or not.
        statement = sql.SQL(
            "copy {table} ({fields}) from stdin"
            " (format csv, freeze, delimiter {delimiter}, encoding 'UTF8', force_null ({fields}))"
        ).format(table=self._identifier, fields=fields, delimiter=sql.Literal(delimiter))
        with self._connection.cursor() as cursor:
            try:
                with cursor.copy(statement) as copy:
                    for block in blocks:
                        copy.write(block)
                        self.landed.is_masked = self.landed.is_masked or holds_mask(block)
                        reached("copy_block")
            except psycopg.DataError as error:
                raise self._refused(name, error) from None
            return cursor.rowcount

    def _refused(self, name: str, error: psycopg.DataError) -> FatalSourceError:
        context = (error.diag.context or "").split(":")[0].replace(f"COPY {self.landed.table}, ", "")
        return FatalSourceError(
            f"A record of {name} cannot be read: {error.diag.message_primary}.",
            reason="malformed_file",
            where=f"{self._flow.name}: {name}, record {context or 'unknown'} after the header",
            next_step="Ask for the file again, or correct delimiter and quoting in source.format.",
        )


def money_source(flow: Flow) -> tuple[str, tuple[str] | str] | None:
    """Source columns of amount and currency, where the flow takes both over unchanged.

    The currency is a 1-tuple of a column name, or the text of a constant.
    """
    entity = flow.entity
    if entity.amount is None or entity.currency is None or entity.amount not in flow.mapping:
        return None
    amount = flow.mapping[entity.amount].plain_source
    currency = flow.mapping.get(entity.currency)
    if amount is None or currency is None:
        return None
    if currency.constant is not None:
        return amount, currency.constant
    plain = currency.plain_source
    return (amount, (plain,)) if plain else None


def totals_by_currency(amounts: Mapping[str, Decimal]) -> dict[str, Any]:
    """Sums without zero entries, as JSON-ready text."""
    return {currency: format(amount, "f") for currency, amount in sorted(amounts.items()) if amount}
