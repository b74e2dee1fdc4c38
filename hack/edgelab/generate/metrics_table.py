"""The reference of all metrics in Markdown, from what operator and agent expose."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from edgelab.generate.fields_table import table

PAGE = Path("docs/reference/metrics.md")
_OWN = "edgecanary_"
_OF_THE_FORMAT = frozenset({"le"})
_INTRODUCTION = """# Metrics reference

<!-- Generated from what operator and agent expose by `make generate`. Change the metrics, not this page. -->

What Prometheus adds (`job`, `instance`, `pod`, `node`) is left out, and so are the metrics of the process that the
client library has by itself. [Operating](../guides/operating.md#metrics-and-health) and
[Nodes](../guides/nodes.md#metrics) say what they mean; [Monitoring](../guides/monitoring.md) has the dashboards and
the alerts that are made of them. Of a histogram, Prometheus stores the series with `_bucket`, `_sum` and `_count`
behind its name.
"""


def page(operator: str, agent: str) -> str:
    """The whole page, from the text formats of an operator and of an agent whose metrics all have series.

    Raises:
        ValueError: a metric has none.
    """
    return "\n".join(
        [_INTRODUCTION, "## Operator\n", _table(operator), "## Agent\n", _table(agent).rstrip("\n") + "\n"]
    )


def _table(text: str) -> str:
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith(_OWN)]
    rows = sorted(row for family in families for row in _rows(family))
    return table(("Metric", "Kind", "Labels", "What it is"), rows)


def _rows(family: Metric) -> Iterator[tuple[str, str, str, str]]:
    if not family.samples:
        raise ValueError(f"{family.name} has no series, which would name its labels")
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = {label for sample in family.samples for label in sample.labels} - _OF_THE_FORMAT
    yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in sorted(labels)), family.documentation
