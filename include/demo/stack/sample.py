"""The sample company as the stack sees it: which day it is there, and the process that writes its data.

Run as ``python -m demo.stack.sample --directory D`` with the ERP database in ``O2C_DEMO_ERP_URL``. ``O2C_DEMO_SEED``
and ``O2C_DEMO_SCALE`` make another company.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path

from demo.company.calendar import last_day
from o2c.errors import O2CError, UsageError

ERP_URL = "O2C_DEMO_ERP_URL"
MONTHS = 18


def as_of() -> date:
    """The business date of a newly made sample company, without making it."""
    return last_day(MONTHS)


def main(arguments: list[str] | None = None) -> int:
    """Generate the company below ``--directory`` and load its ERP database; returns the exit code."""
    # Only this process needs the generator; the stack itself starts without it.
    from demo.company.generate import generate
    from demo.company.write import write

    parser = argparse.ArgumentParser(prog="sample")
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        company = generate(int(_number("O2C_DEMO_SEED", "7")), _number("O2C_DEMO_SCALE", "1"), MONTHS)
        print(write(company, options.directory, os.environ[ERP_URL]))
    except O2CError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _number(variable: str, default: str) -> float:
    text = os.environ.get(variable) or default
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is not a number.", where=variable, next_step="Write a number, for example 1."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
