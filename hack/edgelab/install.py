"""config/install.yaml: what `kubectl apply` installs, and what the lab's clusters are set up with."""

import functools
from collections.abc import Collection
from pathlib import Path

import yaml

from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.helm import documents
from edgelab.paths import ROOT

MANIFEST = ROOT / "config" / "install.yaml"

GUARDS = frozenset({"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"})
"""The kinds that say who may write which object."""

RIGHTS = GUARDS | {
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
}
"""The kinds that say who may do what."""


@functools.cache
def _all(path: Path) -> tuple[JsonObject, ...]:
    return tuple(documents(path.read_text()))


def installed(kinds: Collection[str] = RIGHTS, *, but: Collection[str] = ()) -> list[JsonObject]:
    """The objects of these kinds, as they are installed, without those of the kinds in `but`."""
    return [item for item in _all(MANIFEST) if item["kind"] in kinds and item["kind"] not in but]


def apply_rights(control_plane: ControlPlane, *, but: Collection[str] = ()) -> None:
    """Give the operator and the agents their accounts and rights, and guard their objects.

    Raises:
        KubectlError: the API server refused an object.
    """
    text = yaml.safe_dump_all(installed(but=but))
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)
