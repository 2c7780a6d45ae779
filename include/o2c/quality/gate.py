"""The gate: Great Expectations runs every rule of a flow against its staged load, and fails closed.

One suite per load, one scan per suite. The gate passes a load on only when at least one expectation ran, none
raised, and the rows it evaluated are the rows the manifest counted. Results are kept whether the load passes or not;
Data Docs are written from them at once when a load is held back, else with the reports. They hold counts, no values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from o2c.contracts.entity import Rule
from o2c.errors import GateStopped
from o2c.quality.expectation import ExpectRowsToKeepRule
from o2c.settings import Settings


@dataclass(frozen=True)
class GateRequest:
    """One staged load: its table in schema ``landing``, its rules, and the rows its manifest counted."""

    load_id: str
    flow: str
    table: str
    rules: Sequence[Rule]
    rows: int


@dataclass
class GateOutcome:
    """What the gate saw: rows that break each rule, and why it stopped."""

    load_id: str
    flow: str
    evaluated_rows: int = 0
    unexpected: dict[str, int] = field(default_factory=dict)
    error: GateStopped | None = None

    @property
    def is_open(self) -> bool:
        """True when the load may publish."""
        return self.error is None


def run_gate(settings: Settings, name: str, requests: Sequence[GateRequest]) -> list[GateOutcome]:
    """Run the gate over the staged loads of one source.

    Args:
        settings: where to keep the results; the warehouse to ask.
        name: the source folder; Data Docs are kept apart per source.
        requests: at least one load.

    Returns:
        One outcome per request, in order. A load that may not publish carries a :class:`GateStopped`.
    """
    context = _context(settings, name)
    url = "postgresql+psycopg://" + settings.warehouse_url.split("://", 1)[1]
    source = context.data_sources.add_postgres("warehouse", connection_string=url)
    errors: dict[str, GateStopped] = {}
    by_name: dict[str, Any] = {}
    definitions = []
    try:
        for request in requests:
            with _closed_on_error([request], errors):
                definitions.append(_definition(context, source, request))
        with _closed_on_error(requests, errors):
            by_name = _results(context, name, definitions)
    finally:
        source.get_engine().dispose()
        source.get_execution_engine().engine.dispose()
    outcomes = [
        GateOutcome(request.load_id, request.flow, error=errors[request.load_id])
        if request.load_id in errors
        else _outcome(request, by_name.get(_suite_name(request)))
        for request in requests
    ]
    if not all(outcome.is_open for outcome in outcomes):
        context.build_data_docs()
    return outcomes


def _results(context: Any, name: str, definitions: list[Any]) -> dict[str, Any]:
    if not definitions:
        return {}
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=definitions, result_format="BASIC")
    )
    results = checkpoint.run().run_results
    return {identifier.expectation_suite_identifier.name: result for identifier, result in results.items()}


@contextmanager
def _closed_on_error(requests: Sequence[GateRequest], errors: dict[str, GateStopped]) -> Iterator[None]:
    """Whatever Great Expectations raises, the loads concerned do not pass."""
    try:
        yield
    except Exception as error:
        for request in requests:
            stopped = _stopped(request, "The gate could not run.", f"Great Expectations says: {_shortened(str(error))}")
            errors.setdefault(request.load_id, stopped)


def write_data_docs(settings: Settings, name: str) -> Path:
    """Write the Data Docs of one source from its stored results; returns their folder."""
    _context(settings, name).build_data_docs()
    return settings.reports_dir / "data_docs" / name


def _context(settings: Settings, name: str) -> Any:
    """A context that keeps results and Data Docs on disk and nothing else: no connection, no outdated suite."""
    defaults = InMemoryStoreBackendDefaults()
    results = settings.home / "great_expectations" / name
    defaults.stores[defaults.validation_results_store_name]["store_backend"] = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(results),
    }
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=defaults,
            data_docs_sites={"local_site": _site(settings.reports_dir / "data_docs" / name)},
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )


def _site(directory: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "validation_results_limit": 200},
    }


def _suite_name(request: GateRequest) -> str:
    return request.flow.replace("/", "__")


def _definition(context: Any, source: Any, request: GateRequest) -> Any:
    asset = source.add_table_asset(_suite_name(request), table_name=request.table, schema_name="landing")
    batch = asset.add_batch_definition_whole_table("load")
    expectations = [
        ExpectRowsToKeepRule(rule=rule.name, predicate=rule.predicate, on_fail=rule.on_fail, reason=rule.reason)
        for rule in request.rules
    ]
    suite = context.suites.add(gx.ExpectationSuite(_suite_name(request), expectations=expectations))
    return context.validation_definitions.add(
        gx.ValidationDefinition(name=_suite_name(request), data=batch, suite=suite)
    )


def _outcome(request: GateRequest, result: Any) -> GateOutcome:
    outcome = GateOutcome(request.load_id, request.flow)
    if result is None or not result.results:
        outcome.error = _stopped(request, "No rule ran.", "Give the entity or the flow at least one rule.")
        return outcome
    for item in result.results:
        rule = item.expectation_config.kwargs["rule"]
        if item.exception_info.get("raised_exception") or "unexpected_count" not in item.result:
            outcome.error = _stopped(request, f"The rule '{rule}' could not run.", _exception(item))
            return outcome
        outcome.unexpected[rule] = item.result["unexpected_count"]
        outcome.evaluated_rows = item.result["element_count"]
    outcome.error = _verdict(request, outcome)
    return outcome


def _verdict(request: GateRequest, outcome: GateOutcome) -> GateStopped | None:
    missing = {rule.name for rule in request.rules} - set(outcome.unexpected)
    if missing:
        return _stopped(request, f"The rule '{min(missing)}' did not run.", "Run the gate again.")
    if outcome.evaluated_rows != request.rows or request.rows == 0:
        what = f"The gate saw {outcome.evaluated_rows} rows, the manifest counts {request.rows}."
        return _stopped(request, what, "Run the load again.")
    for rule in request.rules:
        if rule.on_fail == "stop" and outcome.unexpected[rule.name]:
            rows = outcome.unexpected[rule.name]
            what = f"{rows} rows break the rule '{rule.name}', which stops the load: {rule.reason}"
            return _stopped(request, what, "Correct the source and run the flow again; nothing was published.")
    return None


def _stopped(request: GateRequest, what: str, next_step: str) -> GateStopped:
    return GateStopped(what, where=f"{request.flow}, load {request.load_id}", next_step=next_step)


def _exception(item: Any) -> str:
    info = item.exception_info
    by_metric = [part for part in info.values() if isinstance(part, dict)]
    messages = [part.get("exception_message") for part in (info, *by_metric)]
    return f"Great Expectations says: {_shortened(next(filter(None, messages), str(info)))}"


def _shortened(text: str) -> str:
    """The first line that says something; the rest repeats the statement."""
    return (text.strip().splitlines() or ["nothing"])[0][:300]
