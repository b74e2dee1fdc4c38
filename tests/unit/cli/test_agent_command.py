"""`edgecanary agent`: flags, their environment variables, and what is refused."""

import argparse
from pathlib import Path

import pytest

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.settings import AgentSettings
from edgecanary.base.errors import InvalidInput
from edgecanary.cli import agent
from edgecanary.clients.nodeaccess import Blob

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
        "--disk-budget", "4Gi", "--memory-budget", "512Mi",
        "--heartbeat-seconds", "60", "--retry-cap-seconds", "5", "--accelerator", "npu", "--accelerator", "gpu",
    )  # fmt: skip

    assert (found.node, found.data_dir, found.system_namespace) == ("n1", Path("/data"), "system")
    assert (found.listen, found.metrics_address) == (("0.0.0.0:80", "unix:/run/a.sock"), ":81")
    assert found.disk == DiskBudget(margin_bytes=2**30, limit_bytes=2**32)
    assert found.accelerators == ("npu", "gpu")
    assert (found.report.heartbeat_seconds, found.retry.cap_seconds) == (60, 5)
    assert found.access.server == "https://10.0.0.1:6443"
    assert found.access.token is not None
    assert found.access.token.path == Path("/t")


def test_remote_write_is_off_unless_an_address_is_given() -> None:
    assert settings(*SERVER).push is None
    assert settings(*SERVER, "--remote-write-seconds", "5").push is None


def test_the_flags_of_remote_write_become_settings() -> None:
    found = settings(
        *SERVER, "--remote-write", "https://p/api/v1/write", "--remote-write-user", "me",
        "--remote-write-password-file", "/p", "--remote-write-ca-file", "/ca", "--remote-write-label", "site=north",
        "--remote-write-seconds", "15", "--remote-write-max-bytes", "8Mi", "--remote-write-max-age-seconds", "7200",
    ).push  # fmt: skip

    assert found is not None
    assert (found.target.url, found.target.user) == ("https://p/api/v1/write", "me")
    assert (found.target.password, found.target.authority) == (Blob(path=Path("/p")), Blob(path=Path("/ca")))
    assert (found.interval_seconds, found.max_bytes, found.max_age_seconds) == (15, 8 * 2**20, 7200)
    assert found.series_labels("n1") == {
        "job": "edgecanary-agent",
        "instance": "n1",
        "node": "n1",
        "site": "north",
    }


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
        ([*SERVER, "--disk-budget", "much"], "--disk-budget: must be a quantity of bytes"),
        ([*SERVER, "--memory-budget", "much"], "--memory-budget: must be a quantity of bytes"),
        (
            [*SERVER, "--memory-budget", "0"],
            "--memory-budget: must be more than 0 bytes, got '0'; leave it out",
        ),
        ([*SERVER, "--disk-budget", "0Mi"], "--disk-budget: must be more than 0 bytes, got '0Mi'"),
        ([*SERVER, "--download-rate-limit", "0"], "--download-rate-limit: must be more than 0 bytes"),
        (["--server", "10.0.0.1"], "--server: must be an address"),
        ([*SERVER, "--remote-write", "prometheus:9090"], "--remote-write: must be an http"),
        (
            [*SERVER, "--remote-write", "http://p", "--remote-write-max-bytes", "1Ki"],
            "max-bytes: must be at least",
        ),
        ([*SERVER, "--remote-write", "http://p", "--remote-write-label", "x"], "must be NAME=VALUE"),
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
