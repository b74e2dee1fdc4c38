"""Writes ModelReleases: a new one only where there is none, a known one only as it was read.

So what an earlier leader still has on its way meets a conflict as soon as the new one has written once. For the
releases that have a canary a leader sees to that before it decides anything: it puts its term on them first.
"""

import logging

from edgecanary.api import API_VERSION
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import ObjectMeta
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import MODEL_RELEASES
from edgecanary.controller.permit import NO_TERM, Permit

TERM_ANNOTATION = "edgecanary.dev/term"
_LABELS: JsonObject = {"app.kubernetes.io/managed-by": "edgecanary"}

log = logging.getLogger(__name__)


class ReleaseWriter:
    """Writes for whoever has the permit."""

    def __init__(self, kube: KubeClient, permit: Permit) -> None:
        self._kube = kube
        self._permit = permit

    def is_fenced(self, release: ModelRelease | None) -> bool:
        """Whether nothing that an earlier leader planned can still change what nodes of a canary are told."""
        term = self._permit.term
        if release is None or release.spec.canary is None or term == NO_TERM:
            return True
        return release.metadata.annotations.get(TERM_ANNOTATION) == term

    def fence(self, body: JsonObject) -> None:
        """Puts this leader's term on a release as it was read. Raises Conflict, NotFound."""
        metadata = self._metadata(body)
        name, namespace = str(metadata["name"]), str(metadata["namespace"])
        self._kube.replace(MODEL_RELEASES, name, {**body, "metadata": metadata}, namespace=namespace)
        log.info("rollout %s/%s: taken over in term %s", namespace, name, self._permit.term)

    def write(self, rollout: ObjectMeta, spec: ModelReleaseSpec, known: JsonObject | None) -> None:
        """Writes a Rollout's release; `known` is how it was read, None where there was none. Raises Conflict."""
        owner: JsonObject = {
            "apiVersion": API_VERSION,
            "kind": "Rollout",
            "name": rollout.name,
            "uid": rollout.uid,
            "controller": True,
        }
        metadata: JsonObject = {
            **self._metadata(known or {"metadata": {"name": rollout.name, "namespace": rollout.namespace}}),
            "ownerReferences": [owner],
        }
        body: JsonObject = {
            **(known or {"apiVersion": API_VERSION, "kind": "ModelRelease"}),
            "metadata": metadata,
            "spec": spec.to_json(),
        }
        if known is None:
            self._kube.create(MODEL_RELEASES, body, namespace=rollout.namespace)
        else:
            self._kube.replace(MODEL_RELEASES, rollout.name, body, namespace=rollout.namespace)
        log.info("rollout %s/%s: release %d written", rollout.namespace, rollout.name, spec.sequence)

    def _metadata(self, body: JsonObject) -> JsonObject:
        """The metadata with our label and, where terms count, this one."""
        metadata = _mapping(body, "metadata")
        found: JsonObject = {**metadata, "labels": {**_mapping(metadata, "labels"), **_LABELS}}
        if self._permit.term != NO_TERM:
            terms: JsonObject = {TERM_ANNOTATION: self._permit.term}
            found["annotations"] = {**_mapping(metadata, "annotations"), **terms}
        return found


def _mapping(body: JsonObject, key: str) -> JsonObject:
    found = body.get(key)
    return found if isinstance(found, dict) else {}
