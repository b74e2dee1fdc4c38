"""The guides name the reasons, flags and metrics that the code has, and their snippets work."""

import argparse
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from edgecanary.agent.credentials import CredentialSeries
from edgecanary.agent.golden import load
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.sandbox.layers import Layer
from edgecanary.agent.telemetry import Telemetry
from edgecanary.agent.tensors import tensor_types
from edgecanary.analysis.profile import DriftProfile, Feature, parse_profile
from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.notice import NoticeData, NoticeType
from edgecanary.artifact.golden import check_golden
from edgecanary.base.reach import NOT_GRANTED
from edgecanary.cli import agent, agent_install, operator
from edgecanary.cli.main import Command
from edgecanary.clients.webhook import CloudEvent
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.rollout.grants import GRANTS_UNREADABLE
from edgecanary.rollout.notices import _WAITS
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, code_words, column, manifests, page, section
from tests.unit.docs.sources import literals

ROLLOUTS = "docs/guides/rollouts.md"
MODELS = "docs/guides/models.md"
NODES = "docs/guides/nodes.md"
SIGNING = "docs/guides/signing.md"
TELEMETRY = "docs/guides/telemetry.md"
OPERATING = "docs/guides/operating.md"
HOST_SERVICE = "docs/guides/host-service.md"
PROBE = "docs/guides/probe.md"
NOTIFICATIONS = "docs/guides/notifications.md"

REASON = re.compile(r"[A-Z][a-z]+(?:[A-Z]+[a-z]+)*|IOMismatch")
CONDITION_STATUS = {"True", "False", "Unknown"}
DECISIONS = (
    "rollout/planner.py",
    "rollout/progress.py",
    "rollout/context.py",
    "rollout/settling.py",
    "rollout/waits.py",
    "rollout/explain.py",
    "rollout/validation.py",
)
MODEL_CHECKS = (
    "controller/model_checks.py",
    "controller/model_reconciler.py",
    "clients/objectstore.py",
    "artifact",
    "analysis/profile.py",
)
RULES = ("base/reach.py", "rollout/grants.py")
ERRORS = {"InvalidInput", "Unavailable", "NotFound", "WrongAnswer", "stuck", "working", "done"}


def documented(path: str, heading: str, number: int) -> set[str]:
    """The reasons in one column of the tables under a heading."""
    cells = " ".join(column(section(page(path), heading), number))
    return {word for word in code_words(cells) if REASON.fullmatch(word)}


def not_allowed() -> set[str]:
    """The reasons why an administrator's rules forbid an address or a node."""
    found = {literal.value for literal in literals("base/reach.py") if literal.keyword == "reason"}
    return found | {NOT_GRANTED, GRANTS_UNREADABLE}


def test_the_guide_explains_every_reason_of_a_rollouts_ready_condition() -> None:
    elsewhere = {"PlannedEvent", "Rejection", "end_entry", "HistoryEntry", "MetricStatus"}
    found = {
        literal.value
        for literal in literals(*DECISIONS)
        if REASON.fullmatch(literal.value) and literal.call not in elsewhere
    }
    ready, _ = section(page(ROLLOUTS), "What the Ready condition says").split("With `RolledBack`")
    listed = set(code_words(" ".join(column(ready, 1))))
    assert listed == (found - CONDITION_STATUS) | {"InvalidSpec"} | not_allowed()


def test_the_guide_explains_every_reason_for_taking_a_revision_back() -> None:
    found = {literal.value for literal in literals(*DECISIONS) if literal.call == "Rejection"}
    _, rejected = section(page(ROLLOUTS), "What the Ready condition says").split("With `RolledBack`")
    assert set(code_words(" ".join(column(rejected, 0)))) == {
        word for word in found if REASON.fullmatch(word)
    }


def test_the_guide_explains_every_reason_of_an_edge_models_ready_condition() -> None:
    raised = {
        literal.value
        for literal in literals(*MODEL_CHECKS)
        if literal.call in ERRORS and literal.keyword in ("", "reason") and REASON.fullmatch(literal.value)
    }
    listed = documented(MODELS, "What the Ready condition says", 1)
    assert raised | not_allowed() <= listed
    known = {
        literal.value for literal in literals(*MODEL_CHECKS, *RULES, "clients/kube.py", "base/errors.py")
    }
    assert listed <= known


def test_every_reason_of_a_node_in_the_guide_exists() -> None:
    known = {
        literal.value
        for literal in literals(
            "agent",
            "artifact/envelope.py",
            "artifact/onnx_content.py",
            "clients/download.py",
            "clients/answers.py",
            *RULES,
        )
    }
    assert documented(NODES, "Results", 2) <= known


def test_the_guide_explains_every_reason_for_which_a_signature_does_not_count() -> None:
    raised = {
        literal.value
        for literal in literals("agent/trust.py", "artifact/envelope.py", "artifact/signed.py")
        if literal.call == "Refused" and REASON.fullmatch(literal.value)
    }
    assert len(raised) >= 10
    assert documented(SIGNING, "What is refused", 0) == raised - {"StatementTooLong"}


def test_the_guide_names_every_flag_for_signing() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "edgecanary", "model", "sign", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    have = set(re.findall(r"^  (?:-\w, |-\w \w+, )?(--[a-z-]+)", told, re.MULTILINE))
    assert words(SIGNING, "From key to node") == have - {"--help", "--new-key", "--namespace"}


def test_the_guide_names_every_reason_for_which_a_probe_fails() -> None:
    promised = (agent_file("ports.py").split("The reason is one of ")[1]).split(";")[0]
    reasons = set(re.findall(r"[A-Z][A-Za-z]+", promised))
    assert len(reasons) >= 8
    assert reasons <= documented(NODES, "Results", 2)


def test_the_guides_name_every_flag_of_the_agent() -> None:
    assert words(NODES, "Running it") == flags(agent, "agent")


def test_the_guide_names_every_flag_of_the_agents_installation() -> None:
    parser = argparse.ArgumentParser()
    agent_install.add_parsers(parser)
    (actions,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    shown = actions.choices["install"].format_help()
    assert words(HOST_SERVICE, "Install") == set(re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE))


def test_the_guide_names_every_layer_of_the_sandbox() -> None:
    assert words(PROBE, "The sandbox") == set(Layer)


def test_the_guides_name_every_flag_of_the_operator() -> None:
    assert words(OPERATING, "Install") == flags(operator, "operator")


def test_the_guides_name_every_metric_of_the_agent() -> None:
    telemetry = Telemetry(agent_version="1")
    PushMetrics(telemetry.registry)
    telemetry.registry.register(CredentialSeries(dict))
    assert words(NODES, "Metrics") == families(telemetry.exposition())


def test_the_guides_name_every_metric_of_the_operator() -> None:
    exposed = OperatorMetrics().render()
    assert words(OPERATING, "Metrics and health") == families(exposed)


def test_the_guide_names_every_type_of_notification_with_the_reasons_that_lead_to_it() -> None:
    table = section(page(NOTIFICATIONS), "What is told")
    kinds, reasons = (code_words(" ".join(column(table, number))) for number in (0, 2))
    assert set(kinds) == set(NoticeType)
    ends = {"Promoted", "Returned", "FullPromotion"} | set(rejections())
    assert set(reasons) == set(_WAITS) | ends


def test_the_guide_names_every_field_of_a_notification() -> None:
    fields = {field.alias or name for name, field in NoticeData.model_fields.items()}
    table = section(page(NOTIFICATIONS), "What arrives")
    assert set(code_words(" ".join(column(table, 0)))) - {"data"} == fields


def test_the_example_of_a_notification_is_what_is_sent() -> None:
    (example,) = blocks(page(NOTIFICATIONS), "json")
    shown = json.loads(example)
    event = CloudEvent(
        shown["id"],
        shown["type"],
        shown["source"],
        shown["subject"],
        datetime.fromisoformat(shown["time"]),
        {},
    )
    assert json.loads(event.encode()) == shown
    assert shown["type"] in set(NoticeType)


def rejections() -> set[str]:
    """The reasons for taking a revision back, as the guide of rollouts has them."""
    _, rejected = section(page(ROLLOUTS), "What the Ready condition says").split("With `RolledBack`")
    return set(code_words(" ".join(column(rejected, 0))))


def test_the_golden_snippet_makes_a_file_that_operator_and_agent_accept(tmp_path: Path) -> None:
    (manifest,) = manifests(MODELS)
    spec = EdgeModel.model_validate(manifest).spec
    (tmp_path / "reference.onnx").write_bytes(mean_of_640())
    np.save(tmp_path / "cases.npy", np.arange(3 * 640, dtype=np.float64).reshape(3, 640))
    (snippet,) = blocks(page(MODELS), "python")
    subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    made = tmp_path / "golden.npz"
    assert check_golden(made.read_bytes(), spec.io) == 3
    cases = load(made, tensor_types(spec.io.inputs), tensor_types(spec.io.outputs))
    assert cases.count == 3


def test_the_drift_snippet_makes_a_profile_that_operator_and_agent_accept(tmp_path: Path) -> None:
    (manifest,) = manifests(MODELS)
    spec = EdgeModel.model_validate(manifest).spec
    (tmp_path / "model.onnx").write_bytes(mean_of_640())
    np.save(tmp_path / "requests.npy", np.random.default_rng(1).normal(size=(200, 640)))
    (snippet,) = blocks(page(TELEMETRY), "python")
    subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    (tmp_path / "edgemodel.yaml").write_text(yaml.safe_dump(manifest))
    (command,) = (text for text in blocks(page(TELEMETRY), "sh") if "model profile" in text)
    subprocess.run([sys.executable, "-m", *command.split()], cwd=tmp_path, check=True)
    profile = parse_profile((tmp_path / "profile.json").read_bytes(), spec.io)
    assert {feature.tensor for feature in profile.features} == {"window", "score"}
    fields = {name.removeprefix("features[].") for name in words(TELEMETRY, "Drift")}
    known = (DriftProfile, Feature)
    assert fields == {item.alias or name for kind in known for name, item in kind.model_fields.items()}


def agent_file(name: str) -> str:
    return page(f"operator/edgecanary/agent/{name}")


def words(path: str, heading: str) -> set[str]:
    """What is in backticks in the first column under a heading."""
    return set(code_words(" ".join(column(section(page(path), heading), 0))))


def flags(module: Command, name: str) -> set[str]:
    """The flags of a subcommand, as its help shows them."""
    subparsers = argparse.ArgumentParser().add_subparsers()
    module.add_parser(subparsers)
    return set(re.findall(r"^  (--[a-z-]+)", subparsers.choices[name].format_help(), re.MULTILINE))


def families(exposed: bytes) -> set[str]:
    """The metrics in Prometheus's text format, but for those of the process."""
    return set(re.findall(r"^# TYPE (edgecanary_\S+)", exposed.decode(), re.MULTILINE))


def mean_of_640() -> bytes:
    """A model with the tensors of the guide's example."""
    weights = numpy_helper.from_array(np.full((640, 1), 1 / 640, np.float32), "weights")
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, [None, 640])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])
    node = helper.make_node("MatMul", ["window", "weights"], ["score"])
    graph = helper.make_graph([node], "mean", [window], [score], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    made: bytes = model.SerializeToString()
    return made
