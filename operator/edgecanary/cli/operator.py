"""`edgecanary operator`: the operator, in or out of a cluster."""

import argparse
import os
import re
import socket
from pathlib import Path

from edgecanary.base.errors import InvalidInput
from edgecanary.cli import reach
from edgecanary.cli.flags import Flags
from edgecanary.clients.access import Access, own_namespace
from edgecanary.clients.objectstore import MAX_URL_SECONDS
from edgecanary.clients.webhook import SECRET_FLAG, URL_FLAG, WebhookTarget
from edgecanary.controller.cache import Scope
from edgecanary.controller.health import parse_address
from edgecanary.controller.leadership import Candidacy
from edgecanary.controller.logs import LogFormat, set_up
from edgecanary.controller.process import OperatorSettings, run_operator

DEFAULT_NAMESPACE = "edgecanary-system"
_LEAST_URL_SECONDS = 20
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags."""
    flags = Flags(subparsers.add_parser("operator", help="run the operator", description=__doc__))
    flags.many("--namespace", help="a namespace to serve; may be repeated; by default all", metavar="NAME")
    flags.text(
        "--system-namespace",
        default=None,
        help=f"namespace of the EdgeNodes, by default the pod's own or {DEFAULT_NAMESPACE}",
        metavar="NAME",
    )
    flags.text(
        "--kubeconfig",
        default=None,
        help="kubeconfig to reach the API server with, by default KUBECONFIG, the pod's account or ~/.kube/config",
        metavar="FILE",
    )
    flags.text(
        "--metrics-address",
        default=":8080",
        help="where /metrics and /healthz are served",
        metavar="HOST:PORT",
    )
    flags.seconds("--resync-seconds", default=600.0, help="how often each kind is listed whole")
    flags.count("--url-ttl-seconds", default=86_400, help="how long download addresses are valid")
    flags.many(
        "--onnx-domain", help="a further domain of ONNX operators that models may use", metavar="DOMAIN"
    )
    flags.switch(
        "--leader-elect", help="several replicas run, and one of them decides: the one with the Lease"
    )
    flags.text(
        "--leader-election-namespace",
        default=None,
        help="namespace of the Lease, by default the pod's own",
        metavar="NAME",
    )
    flags.text(
        URL_FLAG,
        default=None,
        help="webhook that is told of promotions, rollbacks and what waits for a person",
        metavar="URL",
    )
    flags.text(
        SECRET_FLAG,
        default=None,
        help="file with the secrets that sign what the webhook is told, one a line",
        metavar="FILE",
    )
    reach.add_flags(flags)
    flags.text("--log-format", default="text", help="text or json", metavar="FORMAT")


def run(options: argparse.Namespace) -> int:
    """Runs the operator until it is told to stop; returns the exit code."""
    formats = [style.value for style in LogFormat]
    if options.log_format not in formats:
        rule = f"must be one of {', '.join(formats)}, got {options.log_format!r}"
        raise InvalidInput("--log-format", rule, reason="InvalidSetting")
    set_up(LogFormat(options.log_format))
    return run_operator(to_settings(options))


def to_settings(options: argparse.Namespace) -> OperatorSettings:
    """The settings that the flags mean. Raises InvalidInput naming the flag."""
    ttl = options.url_ttl_seconds
    if not _LEAST_URL_SECONDS <= ttl <= MAX_URL_SECONDS:
        rule = (
            f"must be {_LEAST_URL_SECONDS} to {MAX_URL_SECONDS} (7 days, the most that S3 allows), got {ttl}"
        )
        raise InvalidInput("--url-ttl-seconds", rule, reason="InvalidSetting")
    parse_address(options.metrics_address)
    kubeconfig = Path(options.kubeconfig) if options.kubeconfig else None
    system = options.system_namespace or own_namespace() or DEFAULT_NAMESPACE
    access = Access.find(kubeconfig=kubeconfig)
    return OperatorSettings(
        access=access,
        scope=Scope(system=system, namespaces=tuple(dict.fromkeys(options.namespace or ()))),
        metrics_address=options.metrics_address,
        resync_seconds=options.resync_seconds,
        url_ttl_seconds=ttl,
        onnx_domains=tuple(options.onnx_domain or ()),
        candidacy=_to_candidacy(options) if options.leader_elect else None,
        webhook=_to_webhook(options),
        tenancy=reach.to_tenancy(options, in_pod=access.is_pods),
    )


def _to_webhook(options: argparse.Namespace) -> WebhookTarget | None:
    if not options.notify_url:
        if options.notify_secret_file:
            raise InvalidInput(
                SECRET_FLAG, f"must be given together with {URL_FLAG}", reason="InvalidSetting"
            )
        return None
    secret_file = Path(options.notify_secret_file) if options.notify_secret_file else None
    target = WebhookTarget(options.notify_url, secret_file)
    target.secrets()
    return target


def _to_candidacy(options: argparse.Namespace) -> Candidacy:
    flag = "--leader-election-namespace"
    namespace = options.leader_election_namespace or own_namespace()
    if namespace is None:
        rule = "must be given with --leader-elect outside a pod: the namespace of the Lease is not known"
        raise InvalidInput(flag, rule, reason="InvalidSetting")
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidInput(flag, f"must be a namespace's name, got {namespace!r}", reason="InvalidSetting")
    return Candidacy(namespace, os.environ.get("POD_NAME") or socket.gethostname())
