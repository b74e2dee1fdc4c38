"""The DaemonSet of the agent is one that a real API server takes, and its settings are the agent's."""

import argparse

import yaml

from edgecanary.cli import agent
from edgecanary.cli.flags import Flags, variable
from edgelab.controlplane import ControlPlane
from edgelab.paths import ROOT

MANIFEST = ROOT / "config/agent/daemonset.yaml"


def test_a_real_api_server_takes_the_daemonset(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "-f", str(ROOT / "config/rbac/agent.yaml"))
    said = control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(MANIFEST)
    )
    assert "daemonset.apps/edgecanary-agent serverside-applied (server dry run)" in said


def test_the_daemonsets_variables_are_flags_of_the_agent() -> None:
    parser = argparse.ArgumentParser()
    agent.add_flags(Flags(parser, environ={}))
    known = {variable(f"--{name.replace('_', '-')}") for name in vars(parser.parse_args([]))}
    (container,) = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]["containers"]
    assert (container["command"], container["args"]) == (["edgecanary"], ["agent"])
    assert {entry["name"] for entry in container["env"]} <= known
