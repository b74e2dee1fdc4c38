"""`edgecanary agent install`: a unit that systemd's own checker accepts, and that the agent runs under."""

import argparse
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import EdgecanaryError
from edgecanary.cli import agent, agent_unit
from edgecanary.cli.flags import Flags
from edgecanary.cli.main import main
from edgelab import tools
from edgelab.ports import free_port
from edgelab.processes import Supervisor

PROGRAM = "/usr/bin/env"
FLAGS = ["--", "--node", "n1", "--kubeconfig", "/etc/edgecanary/kubeconfig", "--accelerator", "npu"]


class Host:
    """A host's two folders, and the command on them."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.units, self.config = root / "units", root / "config"
        self.unit = self.units / "edgecanary-agent.service"
        self.settings = self.config / "agent.env"
        self._capsys = capsys

    def run(self, action: str, *arguments: str) -> str:
        """The command's output; its failure is raised by the caller's own `main`."""
        places = ["--unit-dir", str(self.units), "--config-dir", str(self.config)]
        program = ["--program", PROGRAM] if action == "install" and "--program" not in arguments else []
        status = main(["agent", action, *places, *program, *arguments])
        told = self._capsys.readouterr()
        if status != 0:
            raise EdgecanaryError("Failed", told.err)
        return told.out


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, capsys)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program, libraries = tools.systemd_analyze()
    env = {**os.environ, **({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})}
    return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit(host: Host) -> None:
    host.run("install", "--memory-max", "512Mi", *FLAGS, "--data-dir", "/data/models")
    done = analyze("verify", "--man=no", str(host.unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_rates_the_unit_as_well_confined(host: Host) -> None:
    host.run("install", *FLAGS)
    # More than 2.5 on systemd's scale from 0 to 10 is an exit code of 1.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=25", str(host.unit))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_starts_without_a_network_and_for_ever(host: Host) -> None:
    host.run("install", *FLAGS)
    lines = host.unit.read_text().splitlines()
    assert {"After=network.target", "StartLimitIntervalSec=0", "Restart=always", "Type=notify"} <= set(lines)
    assert "Requires=" not in host.unit.read_text()
    assert not any(line.startswith("After=") and "network-online" in line for line in lines)
    assert "WantedBy=multi-user.target" in lines


def test_the_agents_flags_become_settings(host: Host) -> None:
    host.run(
        "install", *FLAGS, "--accelerator", "gpu", "--heartbeat-seconds", "60", "--log-level", 'a $b "c\\'
    )
    assert host.settings.read_text().splitlines()[2:] == [
        "EDGECANARY_ACCELERATOR=npu,gpu",
        "EDGECANARY_HEARTBEAT_SECONDS=60",
        "EDGECANARY_KUBECONFIG=/etc/edgecanary/kubeconfig",
        r'EDGECANARY_LOG_LEVEL="a \$b \"c\\"',
        "EDGECANARY_NODE=n1",
    ]
    assert agent_unit.settings_in(host.settings.read_text())["EDGECANARY_LOG_LEVEL"] == 'a $b "c\\'


def test_the_agent_reads_from_the_settings_what_its_flags_said(host: Host) -> None:
    given = [
        "--node",
        "n1",
        "--heartbeat-seconds",
        "1234567",
        "--retry-cap-seconds",
        "0.125",
        "--require-mains",
    ]
    given += ["--trust-root", "/etc/k1", "--trust-root", "/etc/k2", "--probe-margin-percent", "25"]
    host.run("install", "--", *given)

    def parsed(arguments: list[str], environ: dict[str, str]) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        agent.add_flags(Flags(parser, environ))
        return parser.parse_args(arguments)

    assert parsed([], agent_unit.settings_in(host.settings.read_text())) == parsed(given, {})


def test_what_is_to_be_done_next_is_said(host: Host) -> None:
    said = host.run("install", "--user", "no-such-user", *FLAGS, "--data-dir", "/data/models")
    assert said.splitlines()[2:] == [
        "Next, as root:",
        "  useradd --system --user-group --no-create-home --home-dir /var/lib/edgecanary no-such-user",
        "  install --directory --owner=no-such-user --mode=0750 /data/models",
        "  chgrp no-such-user /etc/edgecanary/kubeconfig",
        "  chmod g+r /etc/edgecanary/kubeconfig",
        "  systemctl daemon-reload",
        "  systemctl enable --now edgecanary-agent",
    ]


def test_a_second_time_changes_nothing(host: Host) -> None:
    host.run("install", *FLAGS)
    before = [(path.read_text(), path.stat().st_mtime_ns) for path in (host.unit, host.settings)]
    said = host.run("install", *FLAGS)
    assert said.startswith(f"{host.settings}: unchanged\n{host.unit}: unchanged\n")
    assert [(path.read_text(), path.stat().st_mtime_ns) for path in (host.unit, host.settings)] == before


def test_other_flags_replace_what_was_written_here(host: Host) -> None:
    host.run("install", *FLAGS)
    host.run("install", "--", "--node", "n2", "--data-dir", "/data/models")
    assert "EDGECANARY_NODE=n2" in host.settings.read_text()
    assert "ReadWritePaths=/data/models" in host.unit.read_text()
    host.run("install")
    assert "EDGECANARY_NODE=n2" in host.settings.read_text()
    assert "ReadWritePaths=/data/models" in host.unit.read_text()


@pytest.mark.parametrize("edited", ["unit", "settings"])
def test_a_file_that_was_edited_by_hand_is_kept_unless_forced(host: Host, edited: str) -> None:
    host.run("install", *FLAGS)
    path = host.unit if edited == "unit" else host.settings
    path.write_text(path.read_text() + "# mine\n")
    other = host.settings if edited == "unit" else host.unit
    before = other.read_text()
    flags = ["--memory-max", "1Gi", "--", "--node", "n3"]
    with pytest.raises(
        EdgecanaryError, match=f"FileEdited: {re.escape(str(path))} was edited by hand and is kept"
    ):
        host.run("install", *flags)
    assert path.read_text().endswith("# mine\n")
    assert other.read_text() == before
    host.run("install", "--force", *flags)
    assert agent_unit.is_untouched(path.read_text())


def test_edited_settings_are_the_nodes_own_when_no_flags_are_given(host: Host) -> None:
    host.run("install", *FLAGS)
    host.settings.write_text("EDGECANARY_NODE=mine\n")
    assert str(host.settings) not in host.run("install")
    assert host.settings.read_text() == "EDGECANARY_NODE=mine\n"


def test_print_shows_both_files_and_writes_none(host: Host) -> None:
    said = host.run("install", "--print", *FLAGS)
    assert "ExecStart=/usr/bin/env agent\n" in said
    assert "EDGECANARY_NODE=n1\n" in said
    assert not host.units.exists()


def test_uninstall_removes_what_was_written_and_keeps_what_was_edited(host: Host) -> None:
    host.run("install", *FLAGS)
    assert "removed" in host.run("uninstall")
    assert not host.unit.exists()
    assert not host.config.exists()
    assert "is not there" in host.run("uninstall")
    host.run("install", *FLAGS)
    host.unit.write_text("[Service]\n")
    with pytest.raises(EdgecanaryError, match="was edited by hand"):
        host.run("uninstall")
    assert host.settings.exists()
    host.run("uninstall", "--force")
    assert not host.unit.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "a b"], "--user: must be the name of a user, got 'a b'"),
        (["--memory-max", "lots"], "--memory-max: must be a quantity of bytes"),
        (["--program", "edgecanary"], "--program: must be the absolute path of an executable file"),
        (["--", "--data-dir", "models"], "--data-dir: must be an absolute path for a service"),
        (
            ["--", "--kubeconfig", "/root/.kube/config"],
            "--kubeconfig: /root/.kube/config is in /root, which the",
        ),
        (
            ["--", "--trust-root", "/etc/k1", "--trust-root", "/root/k2"],
            "--trust-root: /root/k2 is in /root, which",
        ),
        (["--", "--node", "a\nb"], "--node: must be one line of printable characters"),
        (
            ["--", "--accelerator", "a,b"],
            "--accelerator: must be one line of printable characters, and without com",
        ),
    ],
)
def test_what_could_not_run_is_refused(host: Host, arguments: list[str], said: str) -> None:
    with pytest.raises(EdgecanaryError, match=re.escape(said)):
        host.run("install", *arguments)
    assert not host.units.exists()


def test_a_folder_that_cannot_be_written_is_named(host: Host) -> None:
    host.units.write_text("a file")
    with pytest.raises(
        EdgecanaryError, match=r"edgecanary-agent\.service: .*; run this as root, or give --unit-dir"
    ):
        host.run("install", *FLAGS)


def test_words_of_the_command_are_quoted_for_systemd() -> None:
    choices = agent_unit.UnitChoices(["/opt/a b/edge%canary", "$x"], "u", "/etc/s")
    assert 'ExecStart="/opt/a b/edge%%canary" $$x\n' in agent_unit.unit_text(choices)


def test_the_growing_pause_is_written_where_systemd_knows_it() -> None:
    def text(version: int | None) -> str:
        return agent_unit.unit_text(agent_unit.UnitChoices(["/a"], "u", "/s", systemd_version=version))

    assert "RestartSteps=6\nRestartMaxDelaySec=60\n" in text(254)
    assert "RestartSteps" not in text(252)
    assert "RestartSteps" not in text(None)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def test_the_agent_tells_systemd_that_it_is_ready_alive_and_stopping_without_a_network(
    tmp_path: Path, manager: socket.socket, processes: Supervisor
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "edgecanary", "agent"]
    environment = {
        "PYTHONPATH": "operator",
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "600000",
        "EDGECANARY_NODE": "n1",
        "EDGECANARY_DATA_DIR": str(tmp_path / "data"),
        "EDGECANARY_LISTEN": f"127.0.0.1:{port}",
        "EDGECANARY_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "EDGECANARY_SERVER": f"http://127.0.0.1:{free_port()}",
    }
    agent = processes.start("agent", command, env=environment)
    heard = {manager.recv(100).decode() for _ in range(4)}
    assert heard == {"READY=1", "WATCHDOG=1"}
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    agent.stop()
    while (said := manager.recv(100).decode()) == "WATCHDOG=1":
        pass
    assert said == "STOPPING=1"
