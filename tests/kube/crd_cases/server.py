"""Sends cases to the API server."""

import re
from http import HTTPStatus

import pytest

from edgecanary.api import API_VERSION
from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.generate.kinds import Kind
from tests.kube.crd_cases.objects import keys
from tests.kube.crd_cases.table import Case


def collection(kind: Kind, namespace: str = "default") -> str:
    """The path of the kind's objects in a namespace."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.plural}"


def send(control_plane: ControlPlane, case: Case) -> JsonObject:
    """Creates or changes the case's object as a dry run, which does everything but store it.

    Raises:
        ApiError: the server refuses it.
    """
    path = collection(case.kind)
    before = case.stored()
    if before is None:
        return control_plane.admin.create(f"{path}?dryRun=All", case.object())
    stored = control_plane.admin.create(path, before)
    own = f"{path}/{stored['metadata']['name']}"
    try:
        changed = {**case.object(), "metadata": stored["metadata"]}
        return control_plane.admin.replace(f"{own}?dryRun=All", changed)
    finally:
        control_plane.admin.delete(own)


def refusal(control_plane: ControlPlane, case: Case) -> str:
    """What the server says when it refuses the case's object, for all fields."""
    with pytest.raises(ApiError) as refused:
        send(control_plane, case)
    assert refused.value.status == HTTPStatus.UNPROCESSABLE_ENTITY, refused.value
    return refused.value.message


def complaints(message: str, field: str) -> list[str]:
    """What the server's message says about one field. It writes a map's key as `[key]` or as `.key`."""
    found = re.findall(r"(spec\S*): (.*?)(?=, spec\S*: |, <nil>: |\]?$)", message, flags=re.DOTALL)
    return [text for where, text in found if keys(where) == keys(field)]
