"""Writes all that is generated; `--check` writes nothing and fails when something differs.

The simulator's logs take a minute: tests/sim compares them, `--check` does not.

That is crds/ and the chart's copy, config/install.yaml, docs/reference, docs/guides/rollout-semantics.md,
tests/sim/golden and the example in docs/guides/simulator.md, of the agent its faults and its diagram, and the
Grafana dashboards.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboards import generated as dashboards
from edgelab.generate import chart, main, metrics_table
from tests.sim import golden_logs
from tests.unit.agent import diagram
from tests.unit.agent.faults import table
from tests.unit.monitoring.exposed import agent_text, operator_text

CHECKS = "--check" in sys.argv


def more() -> dict[Path, str]:
    """What comes from the chart, from the dashboards' code, from tests and from scenarios."""
    return {
        **chart.generated(),
        **dashboards(),
        **({} if CHECKS else golden_logs.generated()),
        **diagram.generated(),
        **table.generated(),
        metrics_table.PAGE: metrics_table.page(operator_text(), agent_text()),
    }


if __name__ == "__main__":
    sys.exit(main(more=more))
