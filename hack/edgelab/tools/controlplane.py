"""Kubernetes' programs and etcd: given, cached, downloaded, or built from the pinned Go module."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import ROOT, cache_folder
from edgelab.tools import go_build
from edgelab.tools.download import Archive, architecture, fetch
from edgelab.tools.progress import only_one, say

Program = Literal[
    "kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubelet", "kind", "pause"
]

_GO_MODULE = ROOT / "hack" / "go"
_KUBERNETES = "k8s.io/kubernetes"
_OWN = "edgecanary.dev/hack/go"
_PACKAGES: Mapping[Program, str] = {
    "kube-apiserver": f"{_KUBERNETES}/cmd/kube-apiserver",
    "kube-controller-manager": f"{_KUBERNETES}/cmd/kube-controller-manager",
    "kube-scheduler": f"{_KUBERNETES}/cmd/kube-scheduler",
    "kubelet": f"{_KUBERNETES}/cmd/kubelet",
    "etcd": "go.etcd.io/etcd/server/v3",
    "kind": "sigs.k8s.io/kind",
    "pause": f"{_OWN}/pause",
}
_MODULES = (_KUBERNETES, "go.etcd.io/etcd/server/v3", "sigs.k8s.io/kind")
_RELEASED: tuple[Program, ...] = ("kube-apiserver", "etcd")
"""What the release archive holds; the others are built."""

_ENVTEST = "v1.37.0"
_ENVTEST_SHA512 = {
    "amd64": "1d1c453633b72c161a5d5a886cde7ac850be1a2ac796a9e1d4ffacacc6486829"
    "5bdd2d57aa66cd0c158f5ce510f5dfe3fbc61ac21bd3dcfb875bd70658aa663a",
    "arm64": "ae6a670502988200b0131c943758cfd3d3a58cf4e6247ef7f0e6a6467f1cd9a3"
    "33c802e86101f0446b1b92a0e327387224e1e44fe1a4693da0929c6e529cfe9a",
}
_ENVTEST_URL = "https://github.com/kubernetes-sigs/controller-tools/releases/download"


def find(program: Program, environ: Mapping[str, str] = os.environ) -> Path:
    """The program's path, made when it has to be.

    Raises:
        MissingToolError: `KUBEBUILDER_ASSETS` is set and lacks it, or nothing worked.
    """
    if assets := environ.get("KUBEBUILDER_ASSETS"):
        given = Path(assets) / program
        if os.access(given, os.X_OK):
            return given
        if program in _RELEASED:
            raise MissingToolError(
                f"{program}: KUBEBUILDER_ASSETS is {assets}, where no such program is;"
                " unset it, or point it at a folder with kube-apiserver and etcd"
            )
    if cached := _cached(program):
        return cached
    with only_one("control-plane"):
        return _cached(program) or _make(program)


def pinned_version(program: Program) -> str:
    """The version that the Go module pins, such as `v1.37.2`; of our own programs the digest of their text."""
    package = _PACKAGES[program]
    if package.startswith(_OWN):
        sources = sorted((_GO_MODULE / package.removeprefix(f"{_OWN}/")).glob("*.go"))
        return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    module = next(module for module in _MODULES if package.startswith(module))
    text = (_GO_MODULE / "go.mod").read_text()
    match = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.MULTILINE)
    if match is None:
        raise LabError(f"{_GO_MODULE / 'go.mod'} requires no {module}")
    return match[1]


def _cached(program: Program) -> Path | None:
    for folder in (_build_folder(program), _download_folder()):
        if (folder / program).is_file():
            return folder / program
    return None


def _build_folder(program: Program) -> Path:
    name = f"{pinned_version(program)}-linux-{architecture()}"
    return cache_folder() / "tools" / program / name


def _download_folder() -> Path:
    return cache_folder() / "tools" / "envtest" / f"{_ENVTEST}-linux-{architecture()}"


def _make(program: Program) -> Path:
    if program not in _RELEASED:
        return _make_by_building(program)
    try:
        fetch(_envtest(), _download_folder())
        return _download_folder() / program
    except LabError as error:
        say(f"{program}: no download ({error}); building it with Go")
        download_failure = error
    try:
        return _build(program)
    except LabError as error:
        raise MissingToolError(
            f"{program} {pinned_version(program)} is missing and cannot be had.\n"
            f"- KUBEBUILDER_ASSETS is not set\n- it is not in {cache_folder() / 'tools'}\n"
            f"- the download failed: {download_failure}\n- the build failed: {error}\n"
            "To get it: set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd, or allow"
            f" the download above, or install Go (see hack/go/go.mod for the version) and run `make tools`."
        ) from error


def _make_by_building(program: Program) -> Path:
    try:
        return _build(program)
    except LabError as error:
        raise MissingToolError(
            f"{program} {pinned_version(program)} is missing and cannot be had.\n"
            f"- it is not in KUBEBUILDER_ASSETS, nor in {cache_folder() / 'tools'}\n- the build failed: {error}\n"
            "To get it: install Go (see hack/go/go.mod for the version)."
        ) from error


def _envtest() -> Archive:
    name = f"envtest-{_ENVTEST}-linux-{architecture()}.tar.gz"
    programs = ("kube-apiserver", "etcd")
    return Archive(
        url=f"{_ENVTEST_URL}/envtest-{_ENVTEST}/{name}",
        algorithm="sha512",
        digest=_ENVTEST_SHA512[architecture()],
        members={program: f"controller-tools/envtest/{program}" for program in programs},
    )


def _build(program: Program) -> Path:
    version = pinned_version(program)
    package = _PACKAGES[program]
    return go_build.build(
        package,
        _GO_MODULE,
        _build_folder(program),
        named=f"{program} {version}",
        minutes=10,
        flags=_version_flags(version) if package.startswith(_KUBERNETES) else "",
    )


def _version_flags(version: str) -> str:
    """Linker flags that tell a program its version: clients refuse to parse an unset one."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())
