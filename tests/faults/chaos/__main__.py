"""``python -m chaos --seed S --faults N``: a random schedule of faults; exit code 1 when anything does not hold.

Every fault has a random generator of its own, made from the seed, its place in the schedule and its kind:
``--seed S --faults N --only-index I`` runs one of them again.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from chaos import kinds, runner, summary
from chaos.laboratory import opened
from chaos.runner import Line

assert kinds.__path__


def main() -> int:
    options = _options()
    lines: list[Line] = []
    for number in range(options.seeds):
        seed = options.seed if number == 0 and options.seed else secrets.token_hex(4)
        print(f"seed {seed}: {options.faults} faults, {options.jobs} at a time", flush=True)
        lines += _run(seed, options)
    table = summary.table(lines)
    print(table)
    if options.write:
        summary.write(options.write, lines)
    return 1 if summary.is_broken(lines, whole=not options.kinds and options.only_index is None) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", default="", help="of the first schedule; a new one is made and printed without it")
    parser.add_argument("--seeds", type=int, default=1, help="how many schedules")
    parser.add_argument("--faults", type=int, default=500, help="faults in each schedule")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with a Postgres of its own")
    parser.add_argument("--kinds", default="", help="only these, for example 1,2,17")
    parser.add_argument("--only-index", type=int, help="only this place of the schedule")
    parser.add_argument("--write", type=Path, help="put the summary into this page, between its markers")
    parser.add_argument("--verbose", action="store_true", help="one line for every fault")
    return parser.parse_args()


def _run(seed: str, options: argparse.Namespace) -> list[Line]:
    only = {int(text) for text in options.kinds.split(",") if text}
    plan = runner.schedule(seed, options.faults, only)
    if options.only_index is not None:
        plan = [entry for entry in plan if entry[0] == options.only_index]
    directory = Path(tempfile.mkdtemp(prefix="o2c-chaos-"))
    directory.chmod(0o711)
    jobs = min(options.jobs, len(plan))
    try:
        paths = [directory / f"lines{job}.jsonl" for job in range(jobs)]
        done = multiprocessing.get_context("fork").Value("i", 0)
        workers = [
            multiprocessing.get_context("fork").Process(
                target=_work, args=(seed, plan, done, directory / f"job{job}", path, job == 0)
            )
            for job, path in enumerate(paths)
        ]
        for worker in workers:
            worker.start()
        return _watch(workers, paths, len(plan), options.verbose)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _work(
    seed: str, plan: list[tuple[int, runner.Kind]], done: Synchronized[int], directory: Path, path: Path, is_first: bool
) -> None:
    """Take cases until none is left. The slow ones all go to the first worker: some start servers that stay up."""
    directory.mkdir(mode=0o711)
    slow = [entry for entry in plan if entry[1].is_slow] if is_first else []
    quick = [entry for entry in plan if not entry[1].is_slow]
    with path.open("w", buffering=1) as file, opened(directory, seed) as laboratory:
        for line in runner.run(laboratory, itertools.chain(slow, _shared(quick, done))):
            file.write(line.to_json() + "\n")


def _shared(plan: list[tuple[int, runner.Kind]], done: Synchronized[int]) -> Iterator[tuple[int, runner.Kind]]:
    """The cases that no other worker has taken."""
    while True:
        with done.get_lock():
            number, done.value = done.value, done.value + 1
        if number >= len(plan):
            return
        yield plan[number]


def _watch(workers: list[multiprocessing.Process], paths: list[Path], total: int, verbose: bool) -> list[Line]:
    """Show how far it is until the workers have ended."""
    shown: set[int] = set()
    started = next_word = time.monotonic()
    while True:
        ended = not any(worker.is_alive() for worker in workers)
        lines = [line for path in paths for line in runner.read(path)]
        for line in sorted(lines, key=lambda line: line.index):
            if line.index not in shown and (verbose or line.violations):
                print(summary.describe(line), flush=True)
        shown = {line.index for line in lines}
        if ended or time.monotonic() > next_word:
            next_word = time.monotonic() + (1 if sys.stderr.isatty() else 20)
            bad, faults = sum(bool(line.violations) for line in lines), sum(line.injected for line in lines)
            text = f"{time.monotonic() - started:5.0f} s  {len(lines)}/{total} cases, {faults} faults, {bad} broken"
            print(f"\r{text}", end="" if sys.stderr.isatty() and not ended else "\n", flush=True, file=sys.stderr)
        if ended:
            if len(lines) < total:
                lines.append(Line(-1, 0, "worker", violations=[("other", f"{total - len(lines)} cases never ran")]))
                print(summary.describe(lines[-1]))
            return lines
        time.sleep(0.3)


if __name__ == "__main__":
    sys.exit(main())
