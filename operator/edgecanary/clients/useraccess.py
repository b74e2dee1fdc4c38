"""A person's way to the API server: what kubectl would use, without the Kubernetes client library.

The library takes most of a second to import, which a person would wait for at every command and every Tab.
"""

import base64
import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import InvalidInput
from edgecanary.clients import kubeconfig, nodeaccess
from edgecanary.clients.kubeconfig import REASON, Entry, Kubeconfig, wrong
from edgecanary.clients.kubeexec import Credentials, CredentialSource, Plugin, read_plugin
from edgecanary.clients.nodeaccess import SERVICE_ACCOUNT, ApiAccess, Blob

_POD = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True)
class Choice:
    """What flags choose, as kubectl's do; None where a flag is not given."""

    kubeconfig: str | None = None
    context: str | None = None
    cluster: str | None = None
    user: str | None = None
    as_user: str | None = None
    as_groups: tuple[str, ...] = ()
    plugin_seconds: float | None = None
    """How long a credential plugin may take, not being asked anything; None: as long as a person needs."""


@dataclass(frozen=True)
class UserAccess:
    """Where the API server is and who we are there."""

    api: ApiAccess
    source: str
    """Where the settings came from, for error messages."""
    namespace: str | None = None
    """The namespace that the settings name."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Basic authentication and impersonation."""
    proxy: str = ""
    plugin: Plugin | None = None
    plugin_seconds: float | None = None

    @property
    def server(self) -> str:
        """The server's address."""
        return self.api.server

    def transport(self, *, user_agent: str, connections: int) -> "UserTransport":  # noqa: ARG002 - KubeClient says it
        """A transport for KubeClient."""
        return UserTransport(self, connections)


def find_access(choice: Choice, environment: Mapping[str, str] = os.environ) -> UserAccess:
    """Access by the first that is there: --kubeconfig, KUBECONFIG, the pod's account, ~/.kube/config.

    Raises InvalidInput (NoClusterAccess) when there is none, or it cannot be used.
    """
    named = kubeconfig.find_files(choice.kubeconfig, environment)
    if not named and environment.get(_POD):
        return _in_cluster(choice, environment)
    config = load_config(choice, environment)
    if not config.contexts and not config.clusters:
        where = f"{config.source} has no contexts" if named else f"there is no {kubeconfig.HOME}"
        text = f"there is no way to the API server ({where}): set KUBECONFIG or --kubeconfig"
        raise InvalidInput("kubeconfig", text, reason=REASON)
    return _from_config(config, choice, environment)


def load_config(choice: Choice, environment: Mapping[str, str] = os.environ) -> Kubeconfig:
    """The kubeconfig that counts, without a look at its contents. Raises InvalidInput."""
    named = kubeconfig.find_files(choice.kubeconfig, environment)
    files = named or (kubeconfig.HOME.expanduser(),)
    return kubeconfig.load(files, missing_ok=choice.kubeconfig is None)


def _in_cluster(choice: Choice, environment: Mapping[str, str]) -> UserAccess:
    try:
        api = nodeaccess.in_cluster(environment)
    except InvalidInput as error:
        text = f"the pod's service account cannot be used: {error.message}"
        raise InvalidInput("kubeconfig", text, reason=REASON) from error
    namespace = environment.get("POD_NAMESPACE") or _account_namespace()
    return UserAccess(api, "the pod's service account", namespace, _impersonation(None, choice))


def _account_namespace() -> str | None:
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip() or None
    except OSError:
        return None


def _from_config(config: Kubeconfig, choice: Choice, environment: Mapping[str, str]) -> UserAccess:
    context = config.context(choice.context)
    cluster = config.cluster(choice.cluster or context.text("cluster"))
    name = choice.user or context.text("user")
    user = config.user(name) if name else Entry(f"{config.source}: no user", Path())
    if "auth-provider" in user.fields:
        raise wrong(f"{user.place}.auth-provider", "is gone from Kubernetes since 1.26: use exec instead")
    server = cluster.text("server").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise wrong(
            f"{cluster.place}.server", f"must be an address such as https://10.0.0.1:6443, got {server!r}"
        )
    api = ApiAccess(
        server=server,
        authority=cluster.blob("certificate-authority"),
        token=_token(user),
        certificate=user.blob("client-certificate"),
        key=user.blob("client-key"),
        verify=not cluster.switch("insecure-skip-tls-verify"),
        server_name=cluster.text("tls-server-name") or None,
    )
    return UserAccess(
        api=api,
        source=config.source,
        namespace=context.text("namespace") or None,
        headers={**_password(user), **_impersonation(user, choice)},
        proxy=cluster.text("proxy-url") or _environment_proxy(server, environment),
        plugin=read_plugin(user, cluster),
        plugin_seconds=choice.plugin_seconds,
    )


def _token(user: Entry) -> Blob | None:
    if file := user.text("tokenFile"):
        return Blob(path=user.folder / file)
    token = user.text("token")
    return Blob(data=token.encode()) if token else None


def _password(user: Entry) -> dict[str, str]:
    name = user.text("username")
    if not name:
        return {}
    pair = f"{name}:{user.text('password')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _impersonation(user: Entry | None, choice: Choice) -> dict[str, str]:
    """The headers of --as and --as-group, else of the user's `as` and `as-groups`."""
    name, groups = choice.as_user or "", choice.as_groups
    if groups and not name:
        raise InvalidInput("--as-group", "must come together with --as", reason="InvalidSetting")
    if not name and user is not None:
        name, groups = user.text("as"), user.texts("as-groups")
    if not name:
        return {}
    # urllib3 sends a header of several values as several lines only from a HTTPHeaderDict; see UserTransport.
    return {"Impersonate-User": name, **({"Impersonate-Group": "\n".join(groups)} if groups else {})}


def _environment_proxy(server: str, environment: Mapping[str, str]) -> str:
    parts = urlsplit(server)
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY")
    found = next((environment[name] for name in names if environment.get(name)), "")
    skipped = {"no": environment.get("no_proxy") or environment.get("NO_PROXY") or ""}
    if not found or urllib.request.proxy_bypass_environment(parts.netloc, skipped):  # type: ignore[attr-defined]
        return ""
    return found if "://" in found else f"http://{found}"


class UserTransport:
    """Requests with a person's credentials."""

    def __init__(self, access: UserAccess, connections: int) -> None:
        self._access = access
        self._connections = connections
        self._source = (
            CredentialSource(access.plugin, SystemClock(), seconds=access.plugin_seconds)
            if access.plugin
            else None
        )
        self._pool: urllib3.PoolManager | None = None
        self._given: Credentials | None = None

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Mapping[str, object] | None,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        """The answer. A plugin's credentials that the server refuses are asked for once more.

        Raises OSError, urllib3's HTTPError, and InvalidInput (NoClusterAccess).
        """
        response = self._send_once(method, path, headers, body, timeout)
        if response.status == 401 and self._source is not None:
            response.close()
            self._source.forget()
            response = self._send_once(method, path, headers, body, timeout)
        return response

    def close(self) -> None:
        """Close idle connections."""
        if self._pool is not None:
            self._pool.clear()

    def _send_once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, object] | None,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        try:
            given = self._source.get() if self._source else None
            whole = self._headers(headers, given)
            pool = self._pool_for(given)
        except InvalidInput as error:
            raise InvalidInput("", error.message, reason=REASON) from error
        return pool.request(
            method,
            self._access.server + path,
            body=None if body is None else json.dumps(body).encode(),
            headers=whole,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
        )

    def _headers(self, headers: Mapping[str, str], given: Credentials | None) -> urllib3.HTTPHeaderDict:
        whole = urllib3.HTTPHeaderDict(headers)
        for name, value in self._access.headers.items():
            for line in value.split("\n"):
                whole.add(name, line)
        token = (given.token if given else "") or self._access.api.bearer()
        if token:
            whole["Authorization"] = f"Bearer {token}"
        return whole

    def _pool_for(self, given: Credentials | None) -> urllib3.PoolManager:
        """The connections, made anew when a plugin gave other certificates."""
        if self._pool is None or given is not self._given:
            self._pool, self._given = self._new_pool(given), given
        return self._pool

    def _new_pool(self, given: Credentials | None) -> urllib3.PoolManager:
        api = self._access.api
        if given is not None and given.client_certificate_data:
            pair = (given.client_certificate_data, given.client_key_data)
            api = replace(api, certificate=Blob(data=pair[0].encode()), key=Blob(data=pair[1].encode()))
        secure = api.server.startswith("https")
        options: dict[str, object] = {"maxsize": self._connections, "block": False}
        if secure:
            options |= {"ssl_context": api.ssl_context(), "server_hostname": api.server_name}
        if self._access.proxy:
            return _proxied(self._access.proxy, options)
        return urllib3.PoolManager(num_pools=2, **options)  # type: ignore[arg-type]


def _proxied(proxy: str, options: Mapping[str, object]) -> urllib3.ProxyManager:
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise wrong("proxy-url", f"must be an http:// or https:// address, got {proxy!r}")
    return urllib3.ProxyManager(proxy, num_pools=2, **options)  # type: ignore[arg-type]
