"""The Grafana dashboards as code: `make generate` writes them to charts/edgecanary/files/dashboards.

The types are Grafana's own, of its schema 10.1, which every later Grafana reads.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import fleet, node, rollout

FOLDER = Path("charts/edgecanary/files/dashboards")


def generated() -> Mapping[Path, str]:
    """Every dashboard, by its path from the checkout's root, with what it must hold."""
    built = {"fleet": fleet.build(), "rollout": rollout.build(), "node": node.build()}
    return {FOLDER / f"{name}.json": _text(dashboard) for name, dashboard in built.items()}


def _text(dashboard: Dashboard) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
