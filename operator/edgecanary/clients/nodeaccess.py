"""Where a node's agent finds the API server, and how it proves who it is."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from edgecanary.base.errors import InvalidInput

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_REFUSED_USER = {
    "exec": "credential plugins are not run on a node",
    "auth-provider": "auth providers are not supported",
    "username": "API servers take no passwords",
    "as": "impersonation is not supported",
}
_REFUSED_CLUSTER = {"proxy-url": "proxies are not supported"}


@dataclass(frozen=True)
class Blob:
    """Bytes from a file that may be replaced while the agent runs, or given once and for all."""

    path: Path | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """The bytes as they are now. Raises OSError."""
        if self.data is not None:
            return self.data
        return self.path.read_bytes() if self.path else b""

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the file does."""
        if self.path is None:
            return (0, 0)
        try:
            found = self.path.stat()
        except OSError:
            return (-1, -1)
        return (found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True)
class ApiAccess:
    """An API server and the means to talk to it. Files are read again when they change."""

    server: str
    authority: Blob | None = None
    """Certificates to trust; None: the system's."""
    token: Blob | None = None
    certificate: Blob | None = None
    key: Blob | None = None
    verify: bool = True
    server_name: str | None = None
    """The name that the server's certificate must bear, if not the address's."""

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever a file that a connection is made from does."""
        blobs = (self.authority, self.certificate, self.key)
        return tuple(blob.stamp() for blob in blobs if blob)

    def bearer(self) -> str | None:
        """The token as it is now. Raises InvalidInput."""
        if self.token is None:
            return None
        try:
            token = self.token.read().decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput("tokenFile", f"{self.token.path} cannot be read: {error}") from error
        if not token:
            raise InvalidInput("tokenFile", f"{self.token.path} is empty")
        return token

    def ssl_context(self) -> ssl.SSLContext:
        """What connections are made with. Raises InvalidInput."""
        try:
            context = ssl.create_default_context(
                cadata=self.authority.read().decode("ascii") if self.authority else None
            )
            if self.certificate and self.key:
                _load_pair(context, self.certificate.read(), self.key.read())
        except (OSError, ValueError) as error:
            raise InvalidInput("certificates", f"of {self.server} cannot be used: {error}") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def direct(server: str, token_file: Path | None, ca_file: Path | None) -> ApiAccess:
    """Access by flags. Raises InvalidInput."""
    return ApiAccess(
        server=_checked_server(server, "--server"),
        token=Blob(path=token_file) if token_file else None,
        authority=Blob(path=ca_file) if ca_file else None,
    )


def in_cluster(environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> ApiAccess:
    """Access of a pod by its service account. Raises InvalidInput outside a pod."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").exists():
        raise InvalidInput(
            "cluster",
            "this is not a pod: give --kubeconfig FILE, or --server URL with --token-file and --ca-file",
        )
    shown = f"[{host}]" if ":" in host else host
    return ApiAccess(
        server=f"https://{shown}:{port}",
        token=Blob(path=account / "token"),
        authority=Blob(path=account / "ca.crt"),
    )


def from_kubeconfig(path: Path) -> ApiAccess:
    """Access of the current context of a kubeconfig file. Raises InvalidInput naming the field."""
    config = _load_yaml(path)
    current = config.get("current-context")
    context = _named(config, "contexts", "context", current, path)
    cluster = _named(config, "clusters", "cluster", context.get("cluster"), path)
    user = _named(config, "users", "user", context.get("user"), path) if context.get("user") else {}
    for section, fields, refused in (("cluster", cluster, _REFUSED_CLUSTER), ("user", user, _REFUSED_USER)):
        for field, why in refused.items():
            if field in fields:
                raise InvalidInput(
                    f"{path}: {section}.{field}", f"{why}; use a token or a client certificate"
                )
    return ApiAccess(
        server=_checked_server(_text(cluster, "server", path), f"{path}: cluster.server"),
        authority=_blob(cluster, "certificate-authority", path),
        token=_token(user, path),
        certificate=_blob(user, "client-certificate", path),
        key=_blob(user, "client-key", path),
        verify=cluster.get("insecure-skip-tls-verify") is not True,
        server_name=_text(cluster, "tls-server-name", path) or None,
    )


def _load_yaml(path: Path) -> dict[str, JsonValue]:
    import yaml  # noqa: PLC0415 - only hosts with a kubeconfig pay for it

    try:
        config = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path}", f"cannot be read as a kubeconfig: {error}") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{path}", "is not a kubeconfig: must hold clusters, users and contexts")
    return config


def _named(
    config: Mapping[str, JsonValue], plural: str, singular: str, name: JsonValue, path: Path
) -> dict[str, JsonValue]:
    entries = config.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(singular)
            return found if isinstance(found, dict) else {}
    raise InvalidInput(f"{path}: {plural}", f"must have an entry named {name!r}, which the file refers to")


def _text(fields: Mapping[str, JsonValue], name: str, path: Path) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(f"{path}: {name}", f"must be text, got {value!r}")
    return value


def _blob(fields: Mapping[str, JsonValue], name: str, path: Path) -> Blob | None:
    if data := _text(fields, f"{name}-data", path):
        try:
            return Blob(data=base64.b64decode(data, validate=True))
        except binascii.Error as error:
            raise InvalidInput(f"{path}: {name}-data", f"must be base64: {error}") from error
    file = _text(fields, name, path)
    return Blob(path=path.parent / file) if file else None


def _token(user: Mapping[str, JsonValue], path: Path) -> Blob | None:
    if file := _text(user, "tokenFile", path):
        return Blob(path=path.parent / file)
    token = _text(user, "token", path)
    return Blob(data=token.encode()) if token else None


def _checked_server(server: str, field: str) -> str:
    if not server.startswith(("https://", "http://")):
        raise InvalidInput(field, f"must be an address such as https://10.0.0.1:6443, got {server!r}")
    return server.rstrip("/")


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module loads key pairs from files only; this one is gone before anybody can name it."""
    with tempfile.TemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(f"/dev/fd/{file.fileno()}")
