"""A Great Expectations expectation that takes a rule's SQL predicate as it stands.

The stock expectations render money bounds as floats and count each rule in a scan of its own. This one is an
aggregate: Great Expectations bundles all rules of a suite into one ``SELECT``, and the text it counts with is the
text that quarantines.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sqlalchemy as sa
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine import ExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_partial
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

UNEXPECTED = "table.rows_breaking_rule"


class RowsBreakingRule(TableMetricProvider):
    """Rows for which the predicate is false; NULL counts as kept, as in a SQL CHECK."""

    metric_name = UNEXPECTED
    value_keys = ("predicate",)

    @metric_partial(
        engine=SqlAlchemyExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _sqlalchemy(
        cls,  # noqa: N805 -- Great Expectations binds metric functions to the class
        execution_engine: SqlAlchemyExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        broken: Any = sa.literal_column(f"({metric_value_kwargs['predicate']}) is false")
        return sa.func.count().filter(broken), metric_domain_kwargs, {}


class ExpectRowsToKeepRule(BatchExpectation):
    """Expect no row to break the rule ``rule``, whose SQL text is ``predicate``."""

    rule: str
    predicate: str
    on_fail: str
    reason: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.row_count", UNEXPECTED)
    success_keys: ClassVar[tuple[str, ...]] = ("predicate",)
    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        rows, unexpected = metrics["table.row_count"], metrics[UNEXPECTED]
        return {
            "success": unexpected == 0,
            "result": {
                "element_count": rows,
                "unexpected_count": unexpected,
                "unexpected_percent": 100 * unexpected / rows if rows else None,
                "observed_value": f"{unexpected} of {rows} rows",
            },
        }
