"""The operator's flags for several replicas and for its webhook."""

import argparse
from pathlib import Path

import pytest

from edgecanary.base.errors import InvalidInput
from edgecanary.cli import operator
from edgecanary.controller.process import OperatorSettings


@pytest.fixture(autouse=True)
def outside_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("POD_NAME", "POD_NAMESPACE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "kubeconfig"
    config.write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "a", '
        '"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], '
        '"clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}], '
        '"users": [{"name": "a", "user": {"token": "t"}}]}'
    )
    monkeypatch.setenv("KUBECONFIG", str(config))


def settings(*flags: str) -> OperatorSettings:
    parser = argparse.ArgumentParser()
    operator.add_parser(parser.add_subparsers())
    return operator.to_settings(parser.parse_args(["operator", *flags]))


def test_an_operator_is_alone_unless_it_is_told_otherwise() -> None:
    assert settings().candidacy is None
    assert settings("--leader-election-namespace", "somewhere").candidacy is None


def test_in_a_pod_the_lease_is_in_its_namespace_and_bears_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "ours")
    monkeypatch.setenv("POD_NAME", "edgecanary-operator-7f-x2")
    monkeypatch.setenv("EDGECANARY_LEADER_ELECT", "true")
    candidacy = settings().candidacy
    assert candidacy is not None
    assert (candidacy.namespace, candidacy.name) == ("ours", "edgecanary-operator-7f-x2")


def test_outside_a_pod_the_namespace_of_the_lease_must_be_given() -> None:
    with pytest.raises(
        InvalidInput, match="--leader-election-namespace: must be given with --leader-elect outside"
    ):
        settings("--leader-elect")
    found = settings("--leader-elect", "--leader-election-namespace", "shared").candidacy
    assert found is not None
    assert found.namespace == "shared"


def test_a_namespace_that_cannot_be_one_is_named() -> None:
    with pytest.raises(InvalidInput, match="must be a namespace's name, got 'Shared/x'"):
        settings("--leader-elect", "--leader-election-namespace", "Shared/x")


def test_a_webhook_is_checked_before_anything_starts(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        settings("--notify-url", "https://host/", "--notify-secret-file", str(secret))
    secret.write_text("a secret of enough bytes")
    found = settings("--notify-url", "https://host/", "--notify-secret-file", str(secret)).webhook
    assert found is not None
    assert found.place == "https://host"


def test_a_secret_without_a_webhook_is_a_mistake() -> None:
    with pytest.raises(InvalidInput, match="must be given together with --notify-url"):
        settings("--notify-secret-file", "/somewhere")
