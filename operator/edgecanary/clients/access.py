"""How to reach the API server and as whom: kubeconfig or the pod's service account."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    load_incluster_config,
)
from kubernetes.config.kube_config import list_kube_config_contexts, load_kube_config
from yaml import YAMLError

from edgecanary.base.errors import InvalidInput

_NAMESPACE_FILE = Path(SERVICE_TOKEN_FILENAME).with_name("namespace")
_HOME_CONFIG = Path("~/.kube/config")


@dataclass(frozen=True)
class Connection:
    """Address and credentials as plain values, valid now; tokens may expire."""

    server: str
    ca_file: str | None = None
    verify: bool = True
    authorization: str | None = field(default=None, repr=False)
    """Scheme and token of the Authorization header."""
    certificate_file: str | None = None
    key_file: str | None = None


class Access:
    """Where the API server is and who we are there; tokens are read again when they have changed."""

    def __init__(
        self,
        configuration: Configuration,
        source: str,
        namespace: str | None = None,
        *,
        is_pods: bool = False,
    ) -> None:
        self._configuration = configuration
        self.is_pods = is_pods
        """Whether the settings are those of the pod that this process runs in."""
        self.source = source
        """Where the settings came from, for the log."""
        self.namespace = namespace
        """The namespace that the settings name: the context's, or the pod's own; None when they name none."""

    @classmethod
    def find(cls, *, kubeconfig: Path | None = None, context: str | None = None) -> "Access":
        """Access by the first that is there: `kubeconfig`, KUBECONFIG, the pod's account, ~/.kube/config.

        Raises InvalidInput when there is none, or it cannot be used.
        """
        if kubeconfig is not None:
            return cls._from_kubeconfig(str(kubeconfig), context)
        if named := os.environ.get("KUBECONFIG"):
            return cls._from_kubeconfig(named, context)
        if os.environ.get(SERVICE_HOST_ENV_NAME):
            return cls._in_cluster()
        home = _HOME_CONFIG.expanduser()
        if home.exists():
            return cls._from_kubeconfig(str(home), context)
        raise InvalidInput(
            "kubeconfig",
            "there is no way to the API server: set KUBECONFIG or --kubeconfig, or run in a pod with a "
            "service account",
            reason="NoClusterAccess",
        )

    @classmethod
    def _from_kubeconfig(cls, path: str, context: str | None) -> "Access":
        configuration = _new_configuration()
        try:
            load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, context=context, client_configuration=configuration
            )
            namespace = _context_namespace(path, context)
        except (ConfigException, YAMLError, OSError, ValueError) as error:
            raise InvalidInput(
                "kubeconfig", f"{path} cannot be used: {error}", reason="NoClusterAccess"
            ) from error
        return cls(configuration, f"kubeconfig {path}", namespace)

    @classmethod
    def _in_cluster(cls) -> "Access":
        configuration = _new_configuration()
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            message = f"the pod's service account cannot be used: {error}"
            raise InvalidInput("kubeconfig", message, reason="NoClusterAccess") from error
        return cls(configuration, "the pod's service account", own_namespace(), is_pods=True)

    def connection(self) -> Connection:
        """Address and credentials, fresh."""
        settings = self._configuration
        return Connection(
            server=settings.host,
            ca_file=settings.ssl_ca_cert,
            verify=settings.verify_ssl,
            authorization=settings.get_api_key_with_prefix("BearerToken"),
            certificate_file=settings.cert_file,
            key_file=settings.key_file,
        )

    def api_client(self, *, user_agent: str, connections: int) -> ApiClient:
        """A low-level client that retries nothing by itself."""
        self._configuration.connection_pool_maxsize = connections
        client = ApiClient(self._configuration)
        client.user_agent = user_agent
        return client

    def transport(self, *, user_agent: str, connections: int) -> "LibraryTransport":
        """A transport for KubeClient."""
        return LibraryTransport(self.api_client(user_agent=user_agent, connections=connections))


class LibraryTransport:
    """A transport over the Kubernetes client library, which renews tokens by itself."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Mapping[str, object] | None,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        """The answer. Raises OSError and urllib3's HTTPError."""
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        url = self._client.configuration.host + path
        try:
            answer = self._client.call_api(method, url, headers, body, _request_timeout=timeout)
        except ApiException as error:
            raise OSError(str(error)) from error
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()  # type: ignore[no-untyped-call]


def own_namespace() -> str | None:
    """The namespace that this process runs in: POD_NAMESPACE or the service account's; None elsewhere."""
    if named := os.environ.get("POD_NAMESPACE"):
        return named
    if os.environ.get(SERVICE_HOST_ENV_NAME) and _NAMESPACE_FILE.exists():
        return _NAMESPACE_FILE.read_text().strip() or None
    return None


def _context_namespace(path: str, context: str | None) -> str | None:
    """The namespace of the context, by default the current one."""
    contexts, current = list_kube_config_contexts(config_file=path)  # type: ignore[no-untyped-call]
    chosen = next((found for found in contexts if found["name"] == context), current)
    namespace = (chosen.get("context") or {}).get("namespace")
    return str(namespace) if namespace else None


def _new_configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = False
    return configuration
