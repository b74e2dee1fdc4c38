"""From the Secret that an EdgeModel names to its files: download addresses for nodes, reading for checks."""

from datetime import timedelta

from edgecanary.api.meta import LocalSecretReference
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.clients.kube import Secrets
from edgecanary.clients.objectstore import ObjectStore, S3Credentials
from edgecanary.controller.release_urls import Sign, UrlPolicy


class Signing:
    """Signs addresses that live for `lifetime`."""

    def __init__(self, secrets: Secrets, lifetime: timedelta) -> None:
        self._secrets = secrets
        self._lifetime = lifetime

    def policy(self, namespace: str) -> UrlPolicy:
        """How the Rollouts of a namespace get addresses: with the Secrets of that namespace."""

        def signer_for(statement: RevisionStatement) -> Sign:
            store = open_store(self._secrets, namespace, statement.source_secret_ref)
            seconds = int(self._lifetime.total_seconds())
            return lambda uri: store.address(uri, seconds=seconds)

        return UrlPolicy(signer_for, self._lifetime)


def open_store(secrets: Secrets, namespace: str, reference: LocalSecretReference | None) -> ObjectStore:
    """The store behind a `sourceSecretRef`.

    Raises NotFound (SecretNotFound), InvalidInput naming what the Secret lacks, and the API server's errors.
    """
    if reference is None:
        return ObjectStore()
    data = secrets.read(namespace, reference.name)
    return ObjectStore(S3Credentials.from_secret(data, name=reference.name))
