"""YAML with line numbers, so that every complaint names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from o2c.errors import UsageError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML mapping, the line each key stands on, and the text of the file."""

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    text: str = field(default="", repr=False)

    def where(self, *key: str | int) -> str:
        """``file:line: key`` of a key, or of the nearest one above it that exists."""
        probe: KeyPath = key
        while probe and probe not in self.lines:
            probe = probe[:-1]
        dotted = ".".join(str(part) for part in key) or "(file)"
        return f"{self.path}:{self.lines.get(probe, 1)}: {dotted}"

    def wrong(self, what: str, *key: str | int, expected: str) -> UsageError:
        """The error for a key that is not as it should be."""
        return UsageError(what, where=self.where(*key), next_step=f"Expected: {expected}")


def read(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UsageError: the file is missing, is not YAML, repeats a key, or is no mapping.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise UsageError("The file does not exist.", where=str(path), next_step="Check the path.") from None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _read(path: Path, changed_at: int, size: int) -> Document:
    """Contracts are read by every task; a file is parsed again only when it has changed."""
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise UsageError(
            f"This is not valid YAML: {problem}.", where=f"{path}:{line}", next_step="Mend the line."
        ) from None
    lines: dict[KeyPath, int] = {}
    if isinstance(node, yaml.MappingNode):
        try:
            _collect(node, (), lines, path)
        except RecursionError:
            next_step = "Write the values out."
            raise UsageError("A value refers to itself.", where=f"{path}:1", next_step=next_step) from None
    document = Document(path, data if isinstance(data, dict) else {}, lines, text)
    if not isinstance(data, dict):
        raise document.wrong("The file holds no keys.", expected="a mapping of keys to values")
    return document


def _collect(node: yaml.Node, prefix: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*prefix, str(key_node.value))
            if key in lines:
                raise UsageError(
                    f"The key '{key_node.value}' stands twice.",
                    where=f"{path}:{key_node.start_mark.line + 1}",
                    next_step="Keep one of them.",
                )
            lines[key] = key_node.start_mark.line + 1
            _collect(value_node, key, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*prefix, index)] = item.start_mark.line + 1
            _collect(item, (*prefix, index), lines, path)
