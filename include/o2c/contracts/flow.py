"""Flow files: what to move, in exactly eight keys."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from o2c.contracts import source_text
from o2c.contracts.currencies import MINOR_UNITS
from o2c.contracts.entity import Entity, Rule, stated_rules
from o2c.contracts.expressions import compile_condition
from o2c.errors import UsageError

KEYS = ("source", "target", "entity", "mapping", "validation", "run_mode", "retry", "monitoring")
RUN_MODES = ("full", "incremental", "file")
ALERTS = ("page", "mail", "log")
CONNECTORS = ("postgres", "salesforce", "sftp_file", "local_file")
FORMATS = ("csv", "camt053")
_SOURCE_KEYS = {
    "postgres": ({"system", "connection", "connector", "query"}, {"cursor", "overlap", "deletes"}),
    "salesforce": ({"system", "connection", "connector", "object"}, {"cursor", "overlap", "deletes"}),
    "sftp_file": ({"system", "connection", "connector", "path", "pattern", "format"}, {"where", "stable_for"}),
    "local_file": ({"system", "connector", "path", "format"}, {"pattern", "where", "stable_for"}),
}
_MAPPING_KEYS = {"from", "values", "date", "constant", "concat"}
_FORMAT_KEYS = {"csv": {"type", "delimiter", "encoding", "decimal", "thousands", "date"}, "camt053": {"type", "rows"}}
_DATE_FORMAT = re.compile(r"^(?=.*%Y)(?=.*%m)(?=.*%d)[^%A-Za-z]*(?:%[Ymd][^%A-Za-z]*){3}$")
_DURATION = re.compile(r"^(\d+)(s|m|h|d)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INDEX_LAG = timedelta(minutes=20)
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
SCANS = ("daily",)
# Percent of a flow's records that may vanish between two scans before a person has to agree.
_MOST_DELETED = 20


@dataclass(frozen=True)
class FieldMapping:
    """How one canonical column is filled: from source columns, or with a constant."""

    sources: tuple[str, ...] = ()
    literals: tuple[str | None, ...] = ()
    constant: str | None = None
    values: Mapping[str, str] | None = None
    date_format: str | None = None

    @property
    def plain_source(self) -> str | None:
        """The one source column that is taken over unchanged, if that is all the mapping does."""
        return self.sources[0] if len(self.sources) == 1 and not self.values and self.literals == (None,) else None


@dataclass(frozen=True)
class Retry:
    """How often to try again, how long to wait between, and which reasons make trying useless."""

    attempts: int
    backoff_from: timedelta
    backoff_to: timedelta
    fatal: tuple[str, ...]


@dataclass(frozen=True)
class Monitoring:
    """Who owns the flow, how old its data may become, and how its owner is told: page, mail or log.

    ``tolerated_amounts`` is the money by currency that may lie in quarantine, ``tolerated_age`` how long a record may,
    before the owner is told; without them the first record tells.
    """

    owner: str
    freshness: timedelta
    alert: str
    tolerated_amounts: Mapping[str, Decimal] = field(default_factory=dict)
    tolerated_age: timedelta | None = None


@dataclass(frozen=True)
class Flow:
    """One checked flow. ``name`` is ``<folder>/<file>``, for example ``erp/invoices``."""

    name: str
    path: Path
    source: Mapping[str, Any]
    entity: Entity
    mapping: Mapping[str, FieldMapping]
    rules: tuple[Rule, ...]
    run_mode: str
    retry: Retry
    monitoring: Monitoring
    document: source_text.Document

    @property
    def system(self) -> str:
        """The source system: first part of every key of this flow."""
        return str(self.source["system"])

    @property
    def group(self) -> str:
        """The folder the flow lies in: one DAG per folder."""
        return self.path.parent.name

    @property
    def cursor(self) -> tuple[str, ...]:
        """Source columns of the cursor; empty for full and file flows."""
        return tuple(self.source.get("cursor") or ())

    @property
    def scans_deletes(self) -> bool:
        """True when the source's keys are listed to find records deleted there (``source.deletes``)."""
        return "deletes" in self.source

    @property
    def most_deleted_percent(self) -> int:
        """Percent of the records that one scan may find deleted without a person's agreement."""
        return int((self.source.get("deletes") or {}).get("most", _MOST_DELETED))

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Every source column the flow reads, each once, in order of first use."""
        names = [name for field in self.mapping.values() for name in field.sources]
        return tuple(dict.fromkeys([*names, *self.cursor]))

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The entity's rules, then the flow's own."""
        return (*self.entity.rules, *self.rules)

    def where(self, *key: str | int) -> str:
        """File, line and key for an error message."""
        return self.document.where(*key)


def duration(text: str) -> timedelta:
    """Read ``20m``, ``2s``, ``1h`` or ``7d``; raises :class:`ValueError` for anything else."""
    match = _DURATION.fullmatch(str(text))
    if match is None:
        raise ValueError(text)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def load_flows(directory: Path, entities: Mapping[str, Entity]) -> dict[str, Flow]:
    """Read every flow below ``directory``, by name.

    Raises:
        UsageError: naming file, line, key and what was expected; or no flow was found.
    """
    flows = {}
    for path in sorted(directory.glob("*/*.yml")):
        flow = load_flow(path, entities)
        flows[flow.name] = flow
    if not flows:
        raise UsageError("No flow file found.", where=str(directory), next_step="Add <source>/<flow>.yml there.")
    return flows


def load_flow(path: Path, entities: Mapping[str, Entity]) -> Flow:
    """Read and check one flow file; raises :class:`UsageError` like :func:`load_flows`."""
    document = source_text.read(path)
    _check_eight_keys(document)
    data = document.data
    if not (_NAME.match(path.stem) and _NAME.match(path.parent.name)):
        raise document.wrong("Flow and folder names are lower case words.", expected="[a-z][a-z0-9_]*")
    if str(data["entity"]) not in entities:
        raise document.wrong(f"No entity '{data['entity']}'.", "entity", expected=", ".join(sorted(entities)))
    entity = entities[str(data["entity"])]
    if data["target"] != f"raw.{entity.name}":
        raise document.wrong("The target is not the entity's table.", "target", expected=f"raw.{entity.name}")
    _check_source(document)
    return Flow(
        name=f"{path.parent.name}/{path.stem}",
        path=path,
        source=data["source"],
        entity=entity,
        mapping=_mapping(document, entity),
        rules=tuple(stated_rules(document, "validation", data["validation"] or [], entity.columns)),
        run_mode=data["run_mode"],
        retry=_retry(document),
        monitoring=_monitoring(document),
        document=document,
    )


def _check_eight_keys(document: source_text.Document) -> None:
    for key in KEYS:
        if key not in document.data:
            raise document.wrong(f"The key '{key}' is missing.", expected=f"exactly the keys {', '.join(KEYS)}")
    for key in document.data:
        if key not in KEYS:
            raise document.wrong(f"The key '{key}' is not known.", key, expected=f"exactly the keys {', '.join(KEYS)}")


def _check_source(document: source_text.Document) -> None:
    source, run_mode = document.data["source"], document.data["run_mode"]
    if not isinstance(source, dict) or source.get("connector") not in CONNECTORS:
        raise document.wrong(
            "The source names no known connector.", "source", "connector", expected=", ".join(CONNECTORS)
        )
    required, optional = _SOURCE_KEYS[source["connector"]]
    if missing := sorted(required - set(source)):
        raise document.wrong(f"The key '{missing[0]}' is missing.", "source", expected=", ".join(sorted(required)))
    if extra := sorted(set(source) - required - optional):
        allowed = ", ".join(sorted(required | optional))
        raise document.wrong(f"The key '{extra[0]}' is not known.", "source", extra[0], expected=allowed)
    if run_mode not in RUN_MODES:
        raise document.wrong("The run mode is not known.", "run_mode", expected=", ".join(RUN_MODES))
    if (run_mode == "incremental") != bool(source.get("cursor")):
        raise document.wrong(
            "An incremental flow has a cursor, others do not.", "source", expected="cursor: [time, id]"
        )
    if run_mode == "incremental" and not (isinstance(source["cursor"], list) and len(source["cursor"]) == 2):
        raise document.wrong("A cursor is a time and an id.", "source", "cursor", expected="[updated_at, id]")
    if (run_mode == "file") != source["connector"].endswith("_file"):
        raise document.wrong("File connectors run in mode file, others do not.", "run_mode", expected="file")
    for key in {"overlap", "stable_for"} & set(source):
        _duration(document, "source", key)
    if source["connector"] == "salesforce" and source.get("cursor"):
        _check_index_lag(document)
    if "deletes" in source:
        _check_deletes(document, source["deletes"])
    if "format" in source:
        _check_format(document, source["format"])
    if "where" in source:
        _check_where(document, str(source["where"] or ""))
    if "query" in source and not (document.path.parent / source["query"]).is_file():
        raise document.wrong(
            "The query file does not exist.", "source", "query", expected="a .sql file beside the flow"
        )


def _check_deletes(document: source_text.Document, spec: Any) -> None:
    at = ("source", "deletes")
    if not isinstance(spec, dict) or spec.get("scan") not in SCANS:
        raise document.wrong("The scan for deletes is not known.", *at, "scan", expected=f"scan: {', '.join(SCANS)}")
    if extra := sorted(set(spec) - {"scan", "most"}):
        raise document.wrong(f"The key '{extra[0]}' is not known.", *at, extra[0], expected="scan, most")
    most = spec.get("most", _MOST_DELETED)
    if type(most) is not int or not 1 <= most <= 100:
        raise document.wrong("This is no share of the records.", *at, "most", expected="percent, from 1 to 100")


def _check_index_lag(document: source_text.Document) -> None:
    """Salesforce shows a record minutes after it was saved: a window that begins at the cursor misses some."""
    if "overlap" not in document.data["source"] or _duration(document, "source", "overlap") < _INDEX_LAG:
        raise document.wrong(
            "The overlap is shorter than Salesforce's index may lag.", "source", expected="overlap: 20m or more"
        )


def _check_format(document: source_text.Document, spec: Any) -> None:
    at = ("source", "format")
    if not isinstance(spec, dict) or spec.get("type") not in FORMATS:
        raise document.wrong("The format is not known.", *at, "type", expected=", ".join(FORMATS))
    allowed = _FORMAT_KEYS[spec["type"]]
    if extra := sorted(set(spec) - allowed):
        raise document.wrong(f"The key '{extra[0]}' is not known.", *at, extra[0], expected=", ".join(sorted(allowed)))
    for key in ("delimiter", "decimal", "thousands"):
        if key in spec and not (isinstance(spec[key], str) and len(spec[key]) == 1):
            raise document.wrong("This is one character.", *at, key, expected="one character, in quotes")
    if spec.get("thousands") == spec.get("decimal", "."):
        raise document.wrong(
            "Separators of thousands and decimals differ.", *at, "thousands", expected="two characters"
        )
    if "date" in spec and not _DATE_FORMAT.match(str(spec["date"])):
        raise document.wrong("This is no date format.", *at, "date", expected="%Y, %m and %d, for example %m/%d/%Y")
    if spec["type"] == "camt053" and spec.get("rows") not in ("statements", "entries"):
        raise document.wrong("A statement file gives two kinds of rows.", *at, "rows", expected="statements or entries")
    try:
        codecs.lookup(str(spec.get("encoding", "utf-8")))
    except LookupError:
        expected = "utf-8, latin-1, cp1252 ..."
        raise document.wrong("There is no such encoding.", *at, "encoding", expected=expected) from None


def _check_where(document: source_text.Document, condition: str) -> None:
    """Columns are known when the source has answered; the language can be checked before."""
    try:
        compile_condition(condition, None)
    except UsageError as error:
        expected = "a condition over source columns, all text"
        raise document.wrong(error.what, "source", "where", expected=expected) from None


def _mapping(document: source_text.Document, entity: Entity) -> dict[str, FieldMapping]:
    fields = {}
    if not isinstance(document.data["mapping"] or {}, dict):
        raise document.wrong("The mapping names canonical columns.", "mapping", expected="<column>: <source column>")
    for name, spec in (document.data["mapping"] or {}).items():
        if name not in entity.columns:
            known = ", ".join(entity.columns)
            raise document.wrong(f"'{name}' is no column of {entity.name}.", "mapping", name, expected=known)
        fields[name] = _field(document, name, spec)
    for column in entity.columns.values():
        if (column.required or column.name in entity.key) and column.name not in fields:
            raise document.wrong(f"The required column '{column.name}' is not mapped.", "mapping", expected=column.name)
    return fields


def _field(document: source_text.Document, name: str, spec: Any) -> FieldMapping:
    if isinstance(spec, str):
        return FieldMapping(sources=(spec,), literals=(None,))
    kinds = {"from", "constant", "concat"} & set(spec if isinstance(spec, dict) else ())
    if len(kinds) != 1 or set(spec) - _MAPPING_KEYS:
        raise document.wrong(
            "The mapping of the column cannot be read.",
            "mapping",
            name,
            expected="a source column, or one of {from: ...}, {constant: ...}, {concat: [column, '-', column]}",
        )
    if "constant" in spec:
        return FieldMapping(constant=str(spec["constant"]))
    if not isinstance(spec.get("values") or {}, dict):
        expected = "values: {source: canonical}"
        raise document.wrong("The mapping of the column cannot be read.", "mapping", name, expected=expected)
    values = {str(key): str(value) for key, value in (spec.get("values") or {}).items()} or None
    if "date" in spec and not _DATE_FORMAT.match(str(spec["date"])):
        expected = "%Y, %m and %d, for example %m/%d/%Y"
        raise document.wrong("This is no date format.", "mapping", name, expected=expected)
    if "from" in spec:
        return FieldMapping((str(spec["from"]),), (None,), values=values, date_format=spec.get("date"))
    return _concatenation(document, name, spec["concat"])


def _concatenation(document: source_text.Document, name: str, parts: Any) -> FieldMapping:
    """Words are source columns; anything that could not be a column name is literal text."""
    if not isinstance(parts, list) or not parts:
        raise document.wrong("A concatenation is a list.", "mapping", name, expected="[column, '-', column]")
    is_column = [bool(re.match(r"^[A-Za-z_]", str(part))) for part in parts]
    sources = tuple(str(part) for part, column in zip(parts, is_column, strict=True) if column)
    literals = tuple(None if column else str(part) for part, column in zip(parts, is_column, strict=True))
    return FieldMapping(sources, literals)


def _retry(document: source_text.Document) -> Retry:
    spec = document.data["retry"]
    if not isinstance(spec, dict) or set(spec) != {"attempts", "backoff", "fatal"}:
        raise document.wrong("Retry has three keys.", "retry", expected="{attempts: 5, backoff: 2s..2m, fatal: [...]}")
    if type(spec["attempts"]) is not int or spec["attempts"] < 1:
        raise document.wrong("Attempts is a whole number from 1.", "retry", "attempts", expected="1 or more")
    if not isinstance(spec["fatal"] or [], list):
        raise document.wrong("Fatal reasons are a list.", "retry", "fatal", expected="[unauthorized, schema_drift]")
    first, _, last = str(spec["backoff"]).partition("..")
    try:
        return Retry(spec["attempts"], duration(first), duration(last), tuple(spec["fatal"] or ()))
    except ValueError:
        raise document.wrong("The backoff is no range.", "retry", "backoff", expected="2s..2m") from None


def _monitoring(document: source_text.Document) -> Monitoring:
    spec = document.data["monitoring"]
    if not isinstance(spec, dict) or set(spec) - {"quarantine"} != {"owner", "freshness", "alert"}:
        raise document.wrong(
            "Monitoring has three keys, and quarantine if wanted.",
            "monitoring",
            expected="{owner: ..., freshness: 1h, alert: page}",
        )
    if spec["alert"] not in ALERTS:
        raise document.wrong("The alert is not known.", "monitoring", "alert", expected=", ".join(ALERTS))
    freshness = _duration(document, "monitoring", "freshness")
    return Monitoring(str(spec["owner"]), freshness, str(spec["alert"]), *_tolerated(document, spec))


def _tolerated(document: source_text.Document, spec: Mapping[str, Any]) -> tuple[dict[str, Decimal], timedelta | None]:
    if "quarantine" not in spec:
        return {}, None
    at, quarantine = ("monitoring", "quarantine"), spec["quarantine"]
    if not isinstance(quarantine, dict) or not quarantine or set(quarantine) - {"amount", "age"}:
        expected = "{amount: {EUR: 1000}, age: 3d}"
        raise document.wrong("What quarantine may hold cannot be read.", *at, expected=expected)
    amounts = quarantine.get("amount") or {}
    if not isinstance(amounts, dict) or not all(
        code in MINOR_UNITS and re.fullmatch(r"\d+(\.\d+)?", str(amount)) for code, amount in amounts.items()
    ):
        raise document.wrong("These are no amounts.", *at, "amount", expected="{EUR: 1000}")
    try:
        age = duration(quarantine["age"]) if "age" in quarantine else None
    except ValueError:
        raise document.wrong("This is no duration.", *at, "age", expected="20m, 2s, 1h or 7d") from None
    return {code: Decimal(str(amount)) for code, amount in amounts.items()}, age


def _duration(document: source_text.Document, section: str, key: str) -> timedelta:
    try:
        return duration(document.data[section][key])
    except ValueError:
        raise document.wrong("This is no duration.", section, key, expected="20m, 2s, 1h or 7d") from None
