"""Read-only questions to the warehouse."""

from __future__ import annotations

from typing import Any

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.warehouse.session import connect, trusted


def ask(settings: Settings, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one query in a read-only transaction; returns column names and rows.

    Raises:
        UsageError: the statement returns no rows, such as an UPDATE.
    """
    with connect(settings) as connection:
        connection.read_only = True
        # Prepared, because the server prepares one statement only: none can follow that ends the transaction.
        cursor = connection.execute(trusted(statement), prepare=True)
        if cursor.description is None:
            raise UsageError("The statement returns no rows.", where=statement, next_step="Write a query.")
        return [column.name for column in cursor.description], cursor.fetchall()
