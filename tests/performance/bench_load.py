"""Measure one big CSV load against ``psql \\copy`` of the same file, in the same run.

    make bench-load            # 1,000,000 rows; fails when a limit is broken
    make bench-load ROWS=200000
    make bench-load ROWS=1000000 BAD=250000   # a quarter of the rows breaks a rule

The file holds invoice lines in 16 columns, 13 of them mapped and about 150 MB for a million rows. The peer copies them
into a LOGGED table of text columns. Memory is the peak of the process that loads.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg

from demo.stack.postgres import Cluster, temporary
from o2c.connections import from_environment
from o2c.contracts.catalogue import load_catalogue
from o2c.loads.extract import extract
from o2c.loads.gate import gate
from o2c.loads.publish import publish
from o2c.settings import Settings
from o2c.warehouse.migrate import migrate

T = TypeVar("T")
LIMIT_LANDING, LIMIT_LOAD, LIMIT_MEMORY, LIMIT_GATE = 1.6, 5.0, 300, 10.0
# What is wrong with a bad row: the column, its text, and the rules that see it. Each kind makes a fifth of them.
FAULTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("quantity", "n/a", ("type:quantity", "required:quantity")),
    ("invoice_id", "", ("required:invoice_id",)),
    ("currency", "XXX", ("currency:currency_code",)),
    ("net", "1.0001", ("minor_units:net_amount",)),
    ("changed", "2026-02-30 10:00:00+00", ("type:updated_at",)),
)
COLUMNS = (
    "line_id,invoice_id,position,order_line,delivery_line,product,quantity,price,net,tax,currency,reference,changed,"
    "text,place,note"
).split(",")
FLOW = """
source: {{system: shop, connector: local_file, path: {path}, format: {{type: csv}}}}
target: raw.invoice_line
entity: invoice_line
mapping:
  invoice_line_id: line_id
  invoice_id: invoice_id
  line_number: position
  order_line_id: order_line
  delivery_line_id: delivery_line
  product_id: product
  quantity: quantity
  unit_price: price
  net_amount: net
  tax_amount: tax
  currency_code: currency
  special_price_reference: reference
  updated_at: changed
validation: []
run_mode: file
retry: {{attempts: 1, backoff: 1s..1s, fatal: []}}
monitoring: {{owner: billing, freshness: 1d, alert: log}}
"""


@dataclass(frozen=True)
class Loaded:
    """One load: seconds, rows, and how many broke each rule as planted, as the gate saw, and as quarantined."""

    landing_seconds: float
    gate_seconds: float
    publish_seconds: float
    seconds: float
    bad: int
    published: int
    quarantined: int
    planted: dict[str, int]
    unexpected: dict[str, int]
    held: dict[str, int]


@dataclass(frozen=True)
class Figures:
    """Seconds, and ratios to the median of the copies made before and after; memory in MB."""

    rows: int
    copy_seconds: float
    landing_ratio: float
    load_ratio: float
    memory: float
    loaded: Loaded

    def broken_limits(self) -> list[str]:
        """The limits that do not hold; the ratios are those of a load without bad rows."""
        good = self.rows - self.loaded.bad
        published, held = self.loaded.published, self.loaded.quarantined
        is_clean = not self.loaded.bad
        by_rule = (self.loaded.planted, self.loaded.unexpected, self.loaded.held)
        checks = {
            f"landing {self.landing_ratio:.2f} > {LIMIT_LANDING}": self.landing_ratio > LIMIT_LANDING,
            f"load {self.load_ratio:.2f} > {LIMIT_LOAD}": is_clean and self.load_ratio > LIMIT_LOAD,
            f"memory {self.memory:.0f} MB > {LIMIT_MEMORY} MB": self.memory > LIMIT_MEMORY,
            f"gate {self.loaded.gate_seconds:.1f} s > {LIMIT_GATE} s": self.loaded.gate_seconds > LIMIT_GATE,
            f"{published} rows published, {good} are good": published != good,
            f"{held} rows quarantined, {self.loaded.bad} are bad": held != self.loaded.bad,
            f"by rule: planted {by_rule[0]}, gate {by_rule[1]}, quarantine {by_rule[2]}": not (
                by_rule[0] == by_rule[1] == by_rule[2]
            ),
        }
        return [text for text, broken in checks.items() if broken]


def write_lines(path: Path, rows: int, seed: int = 1, bad: int = 0) -> dict[str, int]:
    """Write the CSV, bad rows spread evenly; returns how many rows break each rule.

    JPY has no decimals, EUR and USD two.
    """
    rng = random.Random(seed)
    planted: dict[str, int] = {}
    done = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(rows):
            currency, cents = ("EUR", "USD", "JPY")[number % 3], rng.randrange(100, 1_000_000)
            net, tax = (cents, cents // 5) if currency == "JPY" else (f"{cents / 100:.2f}", f"{cents / 500:.2f}")
            line = (
                f"IL{number:09d},INV{number // 4:08d},{number % 4 + 1},OL{number:09d},DL{number:09d},"
                f"P{number % 500:05d},{cents % 97 + 1},{cents / 100:.4f},{net},{tax},{currency},,"
                f"2026-03-{number % 28 + 1:02d} 10:{number % 60:02d}:{number % 60:02d}+00,"
                f"text about line {number % 1000},warehouse {number % 7} bay {number % 50},note {number % 300} of it\n"
            )
            if done * rows < bad * (number + 1) and done < bad:
                line = _spoilt(line, FAULTS[done % len(FAULTS)], planted)
                done += 1
            file.write(line)
    return planted


def _spoilt(line: str, fault: tuple[str, str, tuple[str, ...]], planted: dict[str, int]) -> str:
    column, text, rules = fault
    fields = line.split(",")
    fields[COLUMNS.index(column)] = text
    for rule in rules:
        planted[rule] = planted.get(rule, 0) + 1
    return ",".join(fields)


def measure(rows: int, directory: Path, bad: int = 0) -> Figures:
    """Load ``rows`` rows once, with copies by psql before and after."""
    lines = directory / "lines.csv"
    planted = write_lines(lines, rows, bad=bad)
    flows = directory / "flows" / "shop"
    flows.mkdir(parents=True)
    (flows / "invoice_lines.yml").write_text(FLOW.format(path=lines), encoding="utf-8")
    with temporary(directory, durable=True) as cluster:
        url = cluster.url("warehouse")
        copies = [_copy(cluster, lines) for _ in range(3)]
        environment = {"O2C_HOME": str(directory), "O2C_FLOWS": str(flows.parent), "O2C_WAREHOUSE_URL": url}
        settings = Settings.load({**os.environ, **environment})
        loaded = _load(settings, url, bad, planted)
        copies += [_copy(cluster, lines) for _ in range(2)]
    copy = statistics.median(copies)
    return Figures(rows, copy, loaded.landing_seconds / copy, loaded.seconds / copy, _peak_memory(), loaded)


def _peak_memory() -> float:
    """MB. Not ``ru_maxrss``: on Linux a process begins with the peak of the one that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _copy(cluster: Cluster, lines: Path) -> float:
    url = cluster.url("warehouse")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists peer")
        connection.execute(f"create table peer ({', '.join(f'{name} text' for name in COLUMNS)})")
    command = [cluster.binaries.program("psql"), url, "-qc", f"\\copy peer from '{lines}' csv header"]
    return _timed(lambda: subprocess.run(command, check=True))[0]


def _load(settings: Settings, url: str, bad: int, planted: dict[str, int]) -> Loaded:
    catalogue = load_catalogue(settings)
    migrate(settings, catalogue.entities)
    flow = catalogue.flow("shop/invoice_lines")
    extracting, extracted = _timed(lambda: extract(settings, flow, from_environment))
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select (manifest ->> 'landing_seconds')::float from ops.load where load_id = %s", [extracted.load_id]
        ).fetchone()
    gating, outcomes = _timed(lambda: gate(settings, "shop", {flow.name: flow}, [extracted]))
    if outcomes[0].error:
        raise outcomes[0].error
    publishing, published = _timed(lambda: publish(settings, flow, extracted))
    with psycopg.connect(url) as connection:
        by_rule = "select rule, count(*) from quarantine.record, unnest(rules) as rule group by rule"
        held = dict(connection.execute(by_rule).fetchall())
    return Loaded(
        landing_seconds=(row or [0.0])[0],
        gate_seconds=gating,
        publish_seconds=publishing,
        seconds=extracting + gating + publishing,
        bad=bad,
        published=published.rows["published"],
        quarantined=published.rows["quarantined"],
        planted=planted,
        unexpected={rule: count for rule, count in outcomes[0].unexpected.items() if count},
        held=held,
    )


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    value = call()
    return time.perf_counter() - started, value


def main() -> int:
    """Print the figures; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bad", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(wanted.rows, Path(directory), wanted.bad)
    print(f"rows                        {figures.rows:>10,}")
    print(f"bad rows                    {wanted.bad:>10,}")
    print(f"psql \\copy, median of 5     {figures.copy_seconds:>10.2f} s")
    print(f"landing / copy              {figures.landing_ratio:>10.2f}   (limit {LIMIT_LANDING})")
    print(f"load, gate, publish / copy  {figures.load_ratio:>10.2f}   (limit {LIMIT_LOAD})")
    print(f"gate                        {figures.loaded.gate_seconds:>10.2f} s (limit {LIMIT_GATE} s)")
    print(f"publish                     {figures.loaded.publish_seconds:>10.2f} s")
    print(f"peak memory of the loader   {figures.memory:>10.0f} MB (limit {LIMIT_MEMORY} MB)")
    broken = figures.broken_limits()
    print("\n".join(broken) or "every limit holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
