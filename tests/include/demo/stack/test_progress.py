from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from demo.stack.progress import FileProgress, PlainProgress, TerminalProgress, for_terminal, replay


def test_plain_lines_say_each_state_once() -> None:
    lines: list[str] = []
    progress = PlainProgress(lines.append)
    for note in ("", "half", "more"):
        progress.show("load", "Loads", note)
    progress.show("dbt", "Models")
    progress.done("load", "12 rows")
    progress.close(failed=True)
    assert [line.partition("] ")[2] for line in lines] == [
        "Loads: running",
        "Models: running",
        "Loads: done (12 rows)",
        "Models: failed",
    ]


def test_the_live_list_leaves_its_last_state() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = for_terminal(console)
    assert isinstance(progress, TerminalProgress)
    progress.show("load", "Loads", "half")
    progress.done("load", "12 rows")
    progress.show("dbt", "Models")
    progress.close(failed=True)
    last = console.file.getvalue().rpartition("✓")[2]  # type: ignore[attr-defined]
    assert "Loads" in last
    assert "12 rows" in last
    assert "✗" in last


def test_without_a_terminal_lines_are_written() -> None:
    assert isinstance(for_terminal(Console(file=io.StringIO())), PlainProgress)


def test_another_process_can_follow(tmp_path: Path) -> None:
    path, lines = tmp_path / "events.jsonl", []
    progress = FileProgress(path)
    progress.show("load", "Loads", "half")
    progress.done("load", "12 rows")
    progress.show("dbt", "Models")
    progress.close(failed=True)
    progress.event("ready", airflow="http://127.0.0.1:1")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event.get("state", event["kind"]) for event in events] == ["running", "done", "running", "failed", "ready"]
    shown = PlainProgress(lines.append)
    for event in events[:3]:
        replay(event, shown)
    assert [line.partition("] ")[2] for line in lines] == [
        "Loads: running (half)",
        "Loads: done (12 rows)",
        "Models: running",
    ]
