"""`edgecanary agent`: the node agent, and its installation as a service of the host."""

import argparse
import logging
import os
import platform
from dataclasses import replace
from pathlib import Path

from edgecanary.agent import process
from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.preconditions import Conditions
from edgecanary.agent.probe import ProbeLimits
from edgecanary.agent.reporter import ReportPace
from edgecanary.agent.sandbox.layers import SandboxSettings
from edgecanary.agent.settings import DEFAULT_LISTEN, DEFAULT_NAMESPACE, AgentSettings
from edgecanary.agent.surroundings import Places
from edgecanary.agent.updater import RetryPace
from edgecanary.base.errors import InvalidInput
from edgecanary.base.quantities import parse_bytes
from edgecanary.cli import agent_install, agent_prepare, agent_push, agent_serving, reach
from edgecanary.cli.flags import Flags
from edgecanary.clients import nodeaccess
from edgecanary.clients.download import DownloadPolicy
from edgecanary.clients.keyfiles import load_roots
from edgecanary.clients.localhook import parse_hook
from edgecanary.clients.nodeaccess import ApiAccess

_SANDBOX = ("best-effort", "required")
_LEVELS = ("debug", "info", "warning", "error")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags, and its own subcommands."""
    parser = subparsers.add_parser("agent", help="run the node agent", description=__doc__)
    add_flags(Flags(parser))
    agent_prepare.add_parser(agent_install.add_parsers(parser))


def add_flags(flags: Flags) -> None:
    """Adds the flags of the agent that runs."""
    flags.text(
        "--node", default=platform.node(), help="name of the Node that the agent runs on", metavar="NAME"
    )
    flags.text("--data-dir", default="/var/lib/edgecanary", help="where models are kept", metavar="DIR")
    flags.many(
        "--listen",
        help=f"where inference is served, by default {DEFAULT_LISTEN}; may be repeated",
        metavar="HOST:PORT|unix:PATH",
    )
    flags.text("--metrics-address", default=":9011", help="where metrics are served", metavar="HOST:PORT")
    flags.text("--kubeconfig", default=None, help="kubeconfig to reach the API server with", metavar="FILE")
    flags.text(
        "--server", default=None, help="address of the API server, instead of a kubeconfig", metavar="URL"
    )
    flags.text("--token-file", default=None, help="bearer token for --server", metavar="FILE")
    flags.text("--ca-file", default=None, help="certificates to trust for --server", metavar="FILE")
    flags.text(
        "--system-namespace",
        default=os.environ.get("POD_NAMESPACE"),
        help=f"namespace of the EdgeNodes, by default the pod's own or {DEFAULT_NAMESPACE}",
        metavar="NAME",
    )
    flags.text("--download-ca-file", default=None, help="certificates to trust for downloads", metavar="FILE")
    flags.text(
        "--download-rate-limit",
        default=None,
        help="bytes per second for all downloads together, such as 500k; no limit by default",
        metavar="QUANTITY",
    )
    flags.seconds(
        "--download-spread-seconds",
        default=10.0,
        help="a download begins within so many seconds, at random, so that a fleet does not ask all at once",
        zero=True,
    )
    flags.many(
        "--download-redirect-host",
        help="a host that a redirect may lead to though its address is local; may be repeated",
        metavar="HOST",
    )
    flags.text("--disk-margin", default="64Mi", help="what must stay free on the disk", metavar="QUANTITY")
    flags.text(
        "--disk-budget",
        default=None,
        help="the most that --data-dir may take, by default what the disk has",
        metavar="QUANTITY",
    )
    flags.many("--accelerator", help="an accelerator that the node has; may be repeated", metavar="NAME")
    flags.text(
        "--probe-sandbox",
        default=_SANDBOX[0],
        help="whether models are tried without a layer that the node lacks (best-effort) or not (required)",
        metavar="MODE",
    )
    flags.count(
        "--probe-margin-percent",
        default=10,
        help="what a probe measures must be within the budget when it is this much more",
    )
    flags.many(
        "--onnx-domain", help="a further domain of ONNX operators that models may use", metavar="DOMAIN"
    )
    flags.many(
        "--trust-root",
        help="a file or directory with public keys that models must be signed with; may be repeated",
        metavar="PATH",
    )
    flags.count("--trust-threshold", default=1, help="how many of the trusted keys must sign a model")
    flags.seconds("--heartbeat-seconds", default=600.0, help="how often the node reports without news")
    flags.seconds(
        "--retry-cap-seconds", default=300.0, help="the longest wait before a delivery is tried again"
    )
    flags.text("--memory-budget", default=None, help="memory that loaded models may take", metavar="QUANTITY")
    flags.text("--notify-url", default=None, help="local hook that is told what is active", metavar="URL")
    reach.add_flags(flags)
    _add_conditions(flags)
    agent_serving.add_flags(flags)
    agent_push.add_flags(flags)
    flags.text("--log-level", default="info", help=f"one of {', '.join(_LEVELS)}", metavar="LEVEL")


def _add_conditions(flags: Flags) -> None:
    """What the device must be like for an update."""
    flags.switch("--require-mains", help="switch on mains power only")
    flags.whole(
        "--min-battery-percent",
        low=1,
        high=100,
        help="charge needed to switch, or mains power",
        metavar="PERCENT",
    )
    flags.whole(
        "--max-temperature-celsius", low=-40, high=150, help="hottest for a switch", metavar="DEGREES"
    )
    flags.text("--metered-file", default=None, help="no downloads while this file is there", metavar="FILE")
    flags.text("--hold-file", default=None, help="no switch while this file is there", metavar="FILE")
    flags.text("--hold-url", default=None, help="local hook that allows a switch", metavar="URL")
    flags.switch("--windows-hold-downloads", help="update windows hold downloads too")
    flags.text("--sys-root", default="/sys", help="where power supplies and thermal zones are", metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Runs the agent until it is told to stop, or prepares or (un)installs it; returns the exit code."""
    if options.action == "prepare":
        return agent_prepare.run(options)
    if options.action is not None:
        return agent_install.run(options, add_flags)
    if options.log_level not in _LEVELS:
        raise InvalidInput("--log-level", f"must be one of {', '.join(_LEVELS)}, got {options.log_level!r}")
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # It would log addresses with the signatures in them.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    return process.run(to_settings(options))


def to_settings(options: argparse.Namespace) -> AgentSettings:
    """The settings that the flags mean. Raises InvalidInput naming the flag."""
    if not options.node:
        raise InvalidInput("--node", "must be the name of the Node that the agent runs on")
    settings = AgentSettings(
        node=options.node,
        data_dir=Path(options.data_dir),
        access=_access(options),
        listen=tuple(options.listen or (DEFAULT_LISTEN,)),
        metrics_address=options.metrics_address,
        system_namespace=options.system_namespace or _pod_namespace() or DEFAULT_NAMESPACE,
        accelerators=tuple(options.accelerator or ()),
        conditions=_conditions(options),
        places=_places(options),
        memory_budget_bytes=_bytes(options.memory_budget, "--memory-budget"),
        notify_hook=parse_hook(options.notify_url, field="--notify-url") if options.notify_url else None,
        disk=DiskBudget(
            margin_bytes=parse_bytes(options.disk_margin, field="--disk-margin"),
            limit_bytes=_bytes(options.disk_budget, "--disk-budget"),
        ),
        download=_download(options),
        download_spread_seconds=options.download_spread_seconds,
        tenancy=reach.to_tenancy(options, in_pod=_uses_pods_account(options)),
        roots=load_roots([Path(path) for path in options.trust_root or ()], options.trust_threshold),
        report=ReportPace(heartbeat_seconds=options.heartbeat_seconds),
        probe=_probe_limits(options),
        serving=agent_serving.to_settings(options),
        push=agent_push.to_settings(options),
    )
    return replace(settings, retry=RetryPace(cap_seconds=options.retry_cap_seconds))


def _probe_limits(options: argparse.Namespace) -> ProbeLimits:
    if options.probe_sandbox not in _SANDBOX:
        rule = f"must be one of {', '.join(_SANDBOX)}, got {options.probe_sandbox!r}"
        raise InvalidInput("--probe-sandbox", rule)
    return ProbeLimits(
        margin_percent=options.probe_margin_percent,
        onnx_domains=tuple(options.onnx_domain or ()),
        sandbox=SandboxSettings(required=options.probe_sandbox == "required"),
    )


def _conditions(options: argparse.Namespace) -> Conditions:
    return Conditions(
        require_mains=options.require_mains,
        min_battery_percent=options.min_battery_percent,
        max_temperature_celsius=options.max_temperature_celsius,
        asks_for_link=options.metered_file is not None,
        asks_application=options.hold_file is not None or options.hold_url is not None,
        windows_hold_downloads=options.windows_hold_downloads,
    )


def _places(options: argparse.Namespace) -> Places:
    return Places(
        sys_root=Path(options.sys_root),
        metered_file=_path(options.metered_file),
        hold_file=_path(options.hold_file),
        hold_hook=parse_hook(options.hold_url, field="--hold-url") if options.hold_url else None,
    )


def _download(options: argparse.Namespace) -> DownloadPolicy:
    return DownloadPolicy(
        ca_file=_path(options.download_ca_file),
        bytes_per_second=_bytes(options.download_rate_limit, "--download-rate-limit"),
        redirect_hosts=reach.host_rules(options.download_redirect_host, "--download-redirect-host"),
    )


def _access(options: argparse.Namespace) -> ApiAccess:
    if options.server and options.kubeconfig:
        raise InvalidInput("--server", "must not be given together with --kubeconfig")
    if options.server:
        return nodeaccess.direct(options.server, _path(options.token_file), _path(options.ca_file))
    kubeconfig = options.kubeconfig or os.environ.get("KUBECONFIG")
    if kubeconfig:
        return nodeaccess.from_kubeconfig(Path(kubeconfig))
    return nodeaccess.in_cluster(os.environ)


def _uses_pods_account(options: argparse.Namespace) -> bool:
    return not (options.server or options.kubeconfig or os.environ.get("KUBECONFIG"))


def _pod_namespace() -> str | None:
    try:
        return (nodeaccess.SERVICE_ACCOUNT / "namespace").read_text().strip() or None
    except OSError:
        return None


def _bytes(text: str | None, flag: str) -> int | None:
    """A size above 0. Raises InvalidInput."""
    if text is None:
        return None
    value = parse_bytes(text, field=flag)
    if value <= 0:
        raise InvalidInput(flag, f"must be more than 0 bytes, got {text!r}; leave it out for no limit")
    return value


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
