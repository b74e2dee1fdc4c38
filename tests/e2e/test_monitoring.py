"""What is watched, on real programs: metrics as Prometheus wants them, dashboards that show something."""

import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dashboards.variables import LABEL_VALUES, fill
from edgelab import tools
from edgelab.fleet import wait_for
from edgelab.processes import Supervisor
from edgelab.watching.stage import NAME, NAMESPACE, Stage, stage_on
from tests.unit.monitoring.dashboard_files import Target, dashboards, targets, variables
from tests.unit.monitoring.dashboard_files import variable_query as query_of
from tests.unit.monitoring.exposed import TARGET, catalog, labels_of

MAY_BE_EMPTY = {("fleet", "Reconcile errors"): "nothing failed"}
"""Panels that show nothing where nothing is wrong."""


@pytest.fixture(scope="module")
def stage(lab_supervisor: Supervisor) -> Iterator[Stage]:
    """Three nodes, and a canary on one of them that bakes for an hour."""
    folder = Path(tempfile.mkdtemp(prefix="edgelab-watched-"))
    with stage_on(lab_supervisor, folder, vnni=2, generic=1) as running:
        running.begin(
            "fp32",
            {"name": "first", "nodes": 1, "bakeSeconds": 3600},
            {"name": "all", "percent": 100, "bakeSeconds": 1},
        )
        revision = running.publish("lookup")
        running.subject.wait(
            "the canary bakes",
            lambda: running.subject.reason() == "Baking",
            unless_rejected=revision,
        )
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        text: str = reply.read().decode()
    return text


def ports(stage: Stage) -> dict[str, int]:
    agents = {f"agent {name}": agent.health_port for name, agent in stage.fleet.agents.items()}
    return {"operator": stage.fleet.operator.health_port, **agents}


def test_promtool_has_nothing_to_say_against_the_metrics(stage: Stage) -> None:
    for program, port in ports(stage).items():
        checked = subprocess.run(
            [tools.promtool(), "check", "metrics"],
            input=scrape(port),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), program


def test_what_is_exposed_is_what_dashboards_and_alerts_are_checked_against(stage: Stage) -> None:
    known = catalog()
    for program, port in ports(stage).items():
        for name, labels in labels_of(scrape(port)).items():
            assert labels == known[name] - TARGET or labels | TARGET == known[name], f"{program}: {name}"


def test_the_operator_names_no_node(stage: Stage) -> None:
    text = scrape(stage.fleet.operator.health_port)
    assert not [name for name in stage.fleet.agents if name in text]


def test_the_metrics_say_what_the_status_says(stage: Stage) -> None:
    def told(expression: str) -> float | None:
        return stage.fleet.prometheus.value(expression)

    own = f'namespace="{NAMESPACE}", rollout="{NAME}"'
    updated = f'edgecanary_rollout_nodes{{{own}, state="updated"}}'
    wait_for("one node runs the canary", lambda: told(updated) == stage.subject.status().nodes.updated == 1)
    assert told(f'edgecanary_rollout_phase{{{own}, phase="Progressing"}}') == 1
    assert told(f"sum(edgecanary_rollout_nodes{{{own}}})") == 3
    assert told('edgecanary_operator_agents{state="reporting"}') == 3
    assert told('edgecanary_operator_node_models{state="Active"}') == 3
    passing = f'sum(edgecanary_rollout_gate_verdict{{{own}, verdict="Pass"}})'
    wait_for("three gates pass", lambda: told(passing) == 3)
    silent = f'edgecanary_rollout_gate_looks_without_value{{{own}, gate="temperature", cause="no_data"}}'
    wait_for("the fourth has no data", lambda: (told(silent) or 0) >= 1)
    assert (told("edgecanary_model_signature_expiry_timestamp_seconds - time()") or 0) > 300 * 86_400


def test_prometheus_evaluates_every_alert(stage: Stage) -> None:
    def health() -> Sequence[str]:
        url = f"{stage.fleet.prometheus.url}/api/v1/rules"
        with urllib.request.urlopen(url, timeout=30) as reply:
            groups = json.load(reply)["data"]["groups"]
        return [rule["health"] for group in groups for rule in group["rules"]]

    wait_for("every rule was evaluated", lambda: set(health()) == {"ok"})
    assert len(health()) == 13


def test_every_panel_shows_something(stage: Stage) -> None:
    values, nodes = chosen(stage), sorted(stage.fleet.agents)

    def shows(target: Target) -> bool:
        """Each node has something of its own: one pushes, one has switched and has a shadow."""
        return any(answered(stage, target, {**values, "node": node}) for node in nodes)

    def empty() -> list[str]:
        asked = (target for target in targets() if (target.dashboard, target.panel) not in MAY_BE_EMPTY)
        return [str(target) for target in asked if not shows(target)]

    wait_for("every query has an answer", lambda: not empty(), got=lambda: "\n".join(empty()))


def test_every_variable_has_values(stage: Stage) -> None:
    assert chosen(stage) == {
        "namespace": NAMESPACE,
        "rollout": NAME,
        "model": NAME,
        "node": min(stage.fleet.agents),
    }


def test_the_series_of_a_rollout_go_with_it(stage: Stage) -> None:
    port = stage.fleet.operator.health_port
    assert f'rollout="{NAME}"' in scrape(port)
    admin = stage.fleet.control_plane.admin
    admin.delete(stage.subject.path("rollouts"))
    admin.delete(stage.subject.path("edgemodels"))
    wait_for(
        "no series names the Rollout or the model",
        lambda: f'"{NAME}"' not in scrape(port),
        got=lambda: "\n".join(line for line in scrape(port).splitlines() if f'"{NAME}"' in line),
    )


def chosen(stage: Stage) -> dict[str, str]:
    """The value that Grafana would choose for each variable: the first one."""
    values: dict[str, str] = {}
    for dashboard in dashboards().values():
        for variable in variables(dashboard)[1:]:
            match = LABEL_VALUES.fullmatch(query_of(variable))
            assert match
            found = stage.fleet.prometheus.query(fill(match[1], values))
            values[str(variable["name"])] = min(sample.labels[match[2]] for sample in found)
    return values


def answered(stage: Stage, target: Target, values: dict[str, str]) -> bool:
    expression = fill(target.expr, {**values, "__rate_interval": "15s"})
    return bool(stage.fleet.prometheus.query(expression))
