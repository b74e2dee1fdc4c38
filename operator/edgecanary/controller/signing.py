"""From the Secret that an EdgeModel names to its files: download addresses for nodes, reading for checks."""

from datetime import timedelta

from edgecanary.api.meta import LocalSecretReference
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.base.errors import NotAllowed
from edgecanary.clients.kube import Secrets
from edgecanary.clients.objectstore import ObjectStore, S3Credentials
from edgecanary.clients.tenancy import Tenancy
from edgecanary.controller.release_urls import Sign, UrlPolicy
from edgecanary.rollout.grants import Allowance, What


class Signing:
    """Signs addresses that live for `lifetime`."""

    def __init__(self, secrets: Secrets, lifetime: timedelta, tenancy: Tenancy | None = None) -> None:
        self._secrets = secrets
        self._lifetime = lifetime
        self._tenancy = tenancy or Tenancy()

    def policy(self, namespace: str) -> UrlPolicy:
        """How the Rollouts of a namespace get addresses: with the Secrets of that namespace."""

        def signer_for(statement: RevisionStatement) -> Sign:
            allowance = self._tenancy.of(namespace)
            store = open_store(self._secrets, namespace, statement.source_secret_ref, allowance)
            seconds = int(self._lifetime.total_seconds())
            return lambda uri: store.address(uri, seconds=seconds)

        return UrlPolicy(signer_for, self._lifetime)


def open_store(
    secrets: Secrets, namespace: str, reference: LocalSecretReference | None, allowance: Allowance
) -> ObjectStore:
    """The store behind a `sourceSecretRef`, as far as the namespace is allowed to go.

    Raises NotFound (SecretNotFound), InvalidInput naming what the Secret lacks, NotAllowed, and the API server's
    errors.
    """
    stores, files = allowance.reach(What.OBJECT_STORE), allowance.reach(What.DOWNLOAD)
    if reference is None:
        return ObjectStore(stores=stores, files=files)
    try:
        data = secrets.read(namespace, reference.name)
    except NotAllowed as error:
        raise error.of("spec.sourceSecretRef") from error
    return ObjectStore(S3Credentials.from_secret(data, name=reference.name), stores=stores, files=files)
