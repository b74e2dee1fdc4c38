"""`edgecanary check`: whether all is there that a rollout needs, and the operator answers.

Exit codes: 0 when all is well, 1 when something is not, 2 for wrong usage.
"""

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgecanary import __version__
from edgecanary.base.errors import EdgecanaryError, NotFound, Unavailable
from edgecanary.cli.flags import Flags
from edgecanary.clients.access import Access
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS, Resource

_KINDS = (EDGE_MODELS, ROLLOUTS, MODEL_RELEASES)
_PAUSE_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, and what is wrong with it, if anything."""

    what: str
    problem: str = ""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags."""
    parser = subparsers.add_parser("check", help="check the installation", description=__doc__)
    flags = Flags(parser)
    flags.text("--kubeconfig", default=None, help="kubeconfig to reach the API server with", metavar="FILE")
    parser.add_argument("--namespace", help="namespace to look into; by default all", metavar="NAME")
    parser.add_argument("--operator-url", help="where the operator serves its metrics", metavar="URL")
    flags.seconds("--timeout-seconds", default=60.0, help="how long the operator may take to be ready")


def run(options: argparse.Namespace) -> int:
    """Says for each thing whether it is well; returns the exit code."""
    good = True
    for finding in _findings(options):
        good = good and not finding.problem
        words = f"FAILED  {finding.what}: {finding.problem}" if finding.problem else f"ok      {finding.what}"
        sys.stdout.write(f"{words}\n")
    return 0 if good else 1


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    kubeconfig = Path(options.kubeconfig) if options.kubeconfig else None
    kube = KubeClient(Access.find(kubeconfig=kubeconfig), user_agent=f"edgecanary-check/{__version__}")
    for kind in _KINDS:
        yield _tried(f"the API server serves {kind}", partial(_list, kube, kind, options.namespace))
    if options.operator_url:
        url = options.operator_url.rstrip("/")
        yield _tried("the operator is ready", partial(_wait_ready, url, options.timeout_seconds))
        yield _tried(f"the operator is version {__version__}", partial(_same_version, url))


def _tried(what: str, look: Callable[[], None]) -> Finding:
    try:
        look()
    except EdgecanaryError as error:
        return Finding(what, error.message)
    return Finding(what)


def _list(kube: KubeClient, kind: Resource, namespace: str | None) -> None:
    try:
        kube.list_all(kind, lambda _: None, namespace=namespace)
    except NotFound as error:
        text = f"the definition of {kind} is missing; install it: kubectl apply --server-side -f crds/"
        raise NotFound("KindMissing", text) from error


def _wait_ready(url: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            _get(f"{url}/readyz")
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _same_version(url: str) -> None:
    text = _get(f"{url}/metrics")
    line = next((line for line in text.splitlines() if line.startswith("edgecanary_operator_info{")), "")
    if f'version="{__version__}"' not in line:
        found = line.partition('version="')[2].partition('"')[0] or "unknown"
        text = f"it is version {found}; upgrade the chart and this program together"
        raise Unavailable("VersionsDiffer", text)


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - the caller's own address
            body: bytes = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace").strip()
        raise Unavailable("NotReady", f"{url} answers {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise Unavailable("NoAnswer", f"{url} does not answer: {error}") from error
    return body.decode(errors="replace")
