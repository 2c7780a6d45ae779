"""Write the receivables page and workbook from the marts as they stand.

Moves rows from the marts, the load ledger and the quarantine into ``reports/receivables.html`` and ``.xlsx``. The
same warehouse gives the same bytes: the only time in them is that of the newest load.
"""

from __future__ import annotations

from pathlib import Path

from o2c.reports.evidence import gather
from o2c.reports.facts import read_facts
from o2c.reports.files import write_whole
from o2c.reports.page import page
from o2c.reports.workbook import workbook
from o2c.settings import Settings


def write_packs(settings: Settings) -> list[Path]:
    """Write both reports; returns their paths, page first.

    Raises:
        UsageError: the marts have not been built, or the folder cannot be written.
        WarehouseError: the warehouse cannot be reached.
    """
    facts = read_facts(settings)
    evidence = gather(facts)
    contents = {"receivables.html": page(facts, evidence).encode(), "receivables.xlsx": workbook(facts, evidence)}
    paths = [settings.reports_dir / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_whole(path, content)
    return paths
