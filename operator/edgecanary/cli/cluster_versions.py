"""Whether the cluster's CRDs fit this program, and what to do when they do not."""

import sys

from edgecanary import __version__
from edgecanary.api import GROUP, VERSION, VERSION_ANNOTATION
from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import EdgecanaryError, NotFound, WrongAnswer
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import CUSTOM_RESOURCE_DEFINITIONS, ROLLOUTS

_METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
_UPGRADE_CRDS = "kubectl apply --server-side -f crds/"


def warn(kube: KubeClient) -> None:
    """Says on standard error when the CRDs came with another version. Raises only when no server answers."""
    try:
        found = crd_version(kube)
    except EdgecanaryError as error:
        if error.reason in ("ApiServerUnreachable", "NoClusterAccess"):
            raise
        return
    if found and not fits(found):
        text = f"the cluster's CRDs are of edgecanary {found}, this is {__version__}"
        sys.stderr.write(f"edgecanary: VersionsDiffer: {text}; {_advice(found)}\n")


def crd_version(kube: KubeClient) -> str:
    """The version that the CRDs came with; empty when they do not say. Raises NotFound, Unavailable."""
    name = f"{ROLLOUTS.plural}.{GROUP}"
    path = CUSTOM_RESOURCE_DEFINITIONS.path(name=name)
    body = kube.ask(path, CUSTOM_RESOURCE_DEFINITIONS, accept=_METADATA_ONLY)
    return str(_dict(_dict(body, "metadata"), "annotations").get(VERSION_ANNOTATION, ""))


def fits(version: str) -> bool:
    """Whether that version and ours are to work together: the same but for the patch."""
    return version.split(".")[:2] == __version__.split(".")[:2]


def explained(kube: KubeClient, error: EdgecanaryError) -> EdgecanaryError:
    """The error, or that the cluster has no CRDs, or others than this program knows."""
    if isinstance(error, WrongAnswer) and error.reason == "ObjectGarbage":
        text = f"this edgecanary {__version__} cannot read what the cluster holds ({error.message}); {_seen(kube)}"
        return EdgecanaryError("VersionMismatch", text)
    if isinstance(error, NotFound) and error.reason in ("NotFound", "KindMissing"):
        return _missing(kube) or error
    return error


def _missing(kube: KubeClient) -> EdgecanaryError | None:
    """Why the kinds are not there, when they are not."""
    try:
        group = kube.ask(f"/apis/{GROUP}", ROLLOUTS)
    except NotFound:
        text = f"the cluster does not know the kind Rollout; install the CRDs: {_UPGRADE_CRDS}"
        return NotFound("KindMissing", text)
    except EdgecanaryError:
        return None
    listed = group.get("versions")
    served = (
        [str(entry.get("version")) for entry in listed if isinstance(entry, dict)]
        if isinstance(listed, list)
        else []
    )
    if VERSION in served:
        return None
    text = (
        f"the cluster serves {GROUP}/{', '.join(served)}, and this edgecanary {__version__} speaks {VERSION}; "
        f"install the edgecanary that the cluster runs, or its CRDs: {_UPGRADE_CRDS}"
    )
    return EdgecanaryError("VersionMismatch", text)


def _seen(kube: KubeClient) -> str:
    try:
        found = crd_version(kube)
    except EdgecanaryError:
        found = ""
    return f"its CRDs are of edgecanary {found}; {_advice(found)}" if found else _advice("")


def _advice(version: str) -> str:
    """What to do about CRDs of that version."""
    ours, theirs = _numbers(__version__), _numbers(version)
    if theirs and theirs > ours:
        return f"install edgecanary {'.'.join(map(str, theirs))} here, too"
    if theirs:
        return f"upgrade the cluster's (CRDs first, then operator and agents): {_UPGRADE_CRDS}"
    return "see that this program, the CRDs, the operator and the agents are of one version"


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor, to compare."""
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def _dict(body: JsonObject, key: str) -> JsonObject:
    found = body.get(key)
    return found if isinstance(found, dict) else {}
