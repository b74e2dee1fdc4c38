"""`edgecanary agent`: flags, their environment variables, and what is refused."""

import argparse
from pathlib import Path

import pytest

from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.settings import AgentSettings
from edgecanary.base.errors import InvalidInput
from edgecanary.cli import agent

SERVER = ["--server", "https://10.0.0.1:6443"]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "POD_NAMESPACE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def settings(*arguments: str) -> AgentSettings:
    parser = argparse.ArgumentParser()
    agent.add_parser(parser.add_subparsers())
    return agent.to_settings(parser.parse_args(["agent", *arguments]))


def test_flags_become_settings() -> None:
    found = settings(
        *SERVER, "--node", "n1", "--data-dir", "/data", "--listen", "0.0.0.0:80", "--listen", "unix:/run/a.sock",
        "--metrics-address", ":81",
        "--token-file", "/t", "--ca-file", "/ca", "--system-namespace", "system", "--disk-margin", "1Gi",
        "--heartbeat-seconds", "60", "--retry-cap-seconds", "5", "--accelerator", "npu", "--accelerator", "gpu",
    )  # fmt: skip

    assert (found.node, found.data_dir, found.system_namespace) == ("n1", Path("/data"), "system")
    assert (found.listen, found.metrics_address) == (("0.0.0.0:80", "unix:/run/a.sock"), ":81")
    assert (found.disk_margin_bytes, found.accelerators) == (2**30, ("npu", "gpu"))
    assert (found.report.heartbeat_seconds, found.retry.cap_seconds) == (60, 5)
    assert found.access.server == "https://10.0.0.1:6443"
    assert found.access.token is not None
    assert found.access.token.path == Path("/t")


def test_flags_say_how_models_are_served() -> None:
    found = settings(
        *SERVER, "--max-requests", "8", "--max-requests-per-model", "3", "--request-seconds", "2.5",
        "--drain-seconds", "9", "--batch-max-size", "16", "--batch-max-delay-milliseconds", "2",
        "--shadow-percent", "12.5",
    ).serving  # fmt: skip

    assert (found.max_in_flight, found.max_in_flight_per_model) == (8, 3)
    assert (found.request_seconds, found.stop_seconds) == (2.5, 9)
    assert (found.batch.max_size, found.batch.max_delay_seconds) == (16, 0.002)
    assert found.shadow.percent == 12.5
    assert settings(*SERVER).serving == ServingSettings()


def test_environment_variables_stand_for_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECANARY_NODE", "from-env")
    monkeypatch.setenv("EDGECANARY_SERVER", "https://10.0.0.2")

    assert settings().node == "from-env"
    assert settings("--node", "from-flag").node == "from-flag"
    assert settings().access.server == "https://10.0.0.2"


def test_the_system_namespace_is_the_pods_own_or_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(*SERVER).system_namespace == "edgecanary-system"
    monkeypatch.setenv("POD_NAMESPACE", "mine")
    assert settings(*SERVER).system_namespace == "mine"


def test_inference_is_served_on_loopback_unless_told_otherwise() -> None:
    assert settings(*SERVER).listen == ("127.0.0.1:9010",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*SERVER, "--kubeconfig", "/k"], "--server: must not be given together with --kubeconfig"),
        ([*SERVER, "--node", ""], "--node: must be the name of the Node"),
        ([*SERVER, "--disk-margin", "lots"], "--disk-margin: must be a quantity of bytes"),
        (["--server", "10.0.0.1"], "--server: must be an address"),
        ([], "this is not a pod: give --kubeconfig"),
        (["--kubeconfig", "/nowhere"], "/nowhere: cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_by_the_flags_name(arguments: list[str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        settings(*arguments)


def test_an_unknown_log_level_is_refused() -> None:
    parser = argparse.ArgumentParser()
    agent.add_parser(parser.add_subparsers())

    with pytest.raises(InvalidInput, match="--log-level: must be one of debug, info, warning, error"):
        agent.run(parser.parse_args(["agent", *SERVER, "--log-level", "loud"]))
