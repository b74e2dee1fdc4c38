"""A real kube-apiserver and etcd on the loopback interface, RBAC on.

No controller manager runs here (`edgelab.cluster` has one): namespaces are not emptied, owners' deletion
collects nothing, the roles admin, edit and view are empty, and nobody watches over nodes (`edgelab.nodes`
says what the node lifecycle controller would say).
"""

import shutil
import subprocess
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from edgelab import audit, tools
from edgelab.api import ApiClient, Credentials, JsonObject, Token, kubeconfig
from edgelab.certificates import Authority
from edgelab.errors import ApiError, KubectlError, LabError
from edgelab.place import HERE, Place
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor

ADMIN = "lab-admin"
ADMIN_GROUPS = ("system:masters",)

SERVICE_ADDRESS = "10.96.0.1"
"""The address of the Service `kubernetes`, the first one of those that Services get."""

_SERVICES = "10.96.0.0/24"
_READY_SECONDS = 120.0


class ControlPlane:
    """etcd and kube-apiserver, which can be stopped, frozen and started again on the same data.

    Args:
        supervisor: runs the processes.
        data_dir: folder for etcd's data, keys, kubeconfigs and the audit log; made when needed.
        audit: whether to keep an audit log (see `audit_log`).
        api_server_args: further flags of kube-apiserver.
        place: where both run. In another network the API server listens on port 443 there, and is reached
            here too when `port` is forwarded to it.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        data_dir: Path,
        *,
        audit: bool = False,
        api_server_args: Sequence[str] = (),
        place: Place = HERE,
    ) -> None:
        self.data_dir = data_dir
        self._place = place
        self._supervisor = supervisor
        self._audit = audit
        self._extra = tuple(api_server_args)
        self._etcd_port, self._etcd_peer_port = free_port(), free_port()
        self.port = free_port()
        self.authority = Authority(data_dir / "pki")
        self._serving = self.authority.server("kube-apiserver", addresses=[place.address, SERVICE_ADDRESS])
        self._kubelet_client = self.authority.user("kube-apiserver-kubelet-client", ADMIN_GROUPS)
        self.token_keys = self.authority.signing_key("service-accounts")
        """What tokens of service accounts are signed with."""
        self._kubeconfigs: dict[tuple[str, ...], Path] = {}
        self._etcd: Process | None = None
        self._api_server: Process | None = None
        self.admin = self.client(ADMIN, ADMIN_GROUPS)
        """A client that may do everything."""

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def forwards(self) -> dict[int, int]:
        """Ports of the loopback interface here, and those they stand for where the servers run."""
        return {self._etcd_port: self._etcd_port, self.port: 443}

    @property
    def ca_file(self) -> Path:
        """The certificate that clients trust."""
        return self.authority.certificate

    @property
    def audit_log(self) -> audit.AuditLog:
        """The audit log.

        Raises:
            LabError: the control plane was not made with `audit=True`.
        """
        if not self._audit:
            raise LabError("this control plane keeps no audit log: make it with audit=True")
        return audit.AuditLog(self.data_dir / "audit.log")

    @property
    def api_server(self) -> Process:
        """The API server's process, for signals.

        Raises:
            LabError: it has not been started.
        """
        return _started(self._api_server, "the API server")

    @property
    def etcd(self) -> Process:
        """The etcd process, for signals.

        Raises:
            LabError: it has not been started.
        """
        return _started(self._etcd, "etcd")

    def start(self) -> None:
        """Start what does not run, wake what is frozen, and wait until the API server is ready.

        Raises:
            MissingToolError: kube-apiserver or etcd is not to be had.
            ProcessError: one of them died or was not ready in time.
        """
        if self._etcd is None or not self._etcd.running:
            self._etcd = self._supervisor.start("etcd", self._etcd_command())
        self._etcd.resume()
        self._etcd.wait_ready(self._etcd_is_ready, timeout=_READY_SECONDS)
        if self._api_server is None or not self._api_server.running:
            self._api_server = self._supervisor.start("kube-apiserver", self._api_server_command())
        self._api_server.resume()
        self._api_server.wait_ready(self._serves, timeout=_READY_SECONDS)

    def stop(self) -> None:
        """Stop both; the data stays, `start` goes on with it at the same address."""
        self.stop_api_server()
        if self._etcd is not None:
            self._etcd.stop()

    def stop_api_server(self, *, kill: bool = False) -> None:
        """Stop the API server alone, gracefully or with signal 9; `start` brings it back."""
        if self._api_server is not None:
            if kill:
                self._api_server.kill()
            else:
                self._api_server.stop(grace=20)

    def credentials(self, user: str, groups: Sequence[str] = ()) -> Credentials:
        """A client certificate for a user in groups; RBAC decides what it may do."""
        pair = self.authority.user(user, groups)
        return Credentials(self.ca_file, pair.certificate, pair.key)

    def client(self, user: str, groups: Sequence[str] = ()) -> ApiClient:
        """A JSON client that acts as a user in groups."""
        return ApiClient(self.url, self.credentials(user, groups))

    def kubeconfig(
        self, user: str = ADMIN, groups: Sequence[str] = ADMIN_GROUPS, *, namespace: str = "default"
    ) -> Path:
        """A kubeconfig file for a user in groups; by default for one who may do everything.

        Give `groups=()` with a user of your own: the default group is the administrators'.
        """
        key = (user, namespace, *groups)
        if key not in self._kubeconfigs:
            folder = self.data_dir / "kubeconfigs"
            folder.mkdir(exist_ok=True)
            path = folder / f"{len(self._kubeconfigs)}.kubeconfig"
            path.touch(mode=0o600)
            path.write_text(kubeconfig(self.url, self.credentials(user, groups), namespace=namespace))
            self._kubeconfigs[key] = path
        return self._kubeconfigs[key]

    def kubectl(self, *arguments: str, stdin: str | None = None, user_config: Path | None = None) -> str:
        """Run kubectl, as the administrator or with another kubeconfig; its standard output.

        Raises:
            KubectlError: its exit code was not 0.
        """
        config = user_config or self.kubeconfig()
        cache = self.data_dir / "kubectl-cache"
        result = subprocess.run(
            [tools.kubectl(), f"--kubeconfig={config}", f"--cache-dir={cache}", *arguments],
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise KubectlError(arguments, result.returncode, result.stderr)
        return result.stdout

    def service_account_token(
        self, namespace: str, name: str, *, seconds: int = 3600, node: str = "", pod: str = ""
    ) -> str:
        """A token of a service account, bound to a Node or to a pod of the namespace when one is named.

        Raises:
            ApiError: there is no such service account, Node or pod.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        spec: JsonObject = {"expirationSeconds": seconds}
        if node or pod:
            kind, place = ("Node", "nodes") if node else ("Pod", f"namespaces/{namespace}/pods")
            uid = self.admin.get(f"/api/v1/{place}/{node or pod}")["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": kind, "name": node or pod, "uid": uid}
        return str(self.admin.create(path, {"spec": spec})["status"]["token"])

    def token_client(self, token: str) -> ApiClient:
        """A JSON client that acts as whoever the token is for."""
        return ApiClient(self.url, Token(self.ca_file, token))

    def create_namespace(self, name: str) -> None:
        """Create a namespace.

        Raises:
            ApiError: it exists, or the name is not valid.
        """
        self.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace with what our own kinds have in it, as far as nobody controls it.

        Raises:
            ApiError: there is no such namespace.
        """
        for plural in self._own_plurals():
            self.admin.delete(f"/apis/edgecanary.dev/v1alpha1/namespaces/{name}/{plural}")
        self.admin.delete(f"/api/v1/namespaces/{name}")
        namespace = self.admin.get(f"/api/v1/namespaces/{name}")
        namespace["spec"] = {"finalizers": []}
        self.admin.replace(f"/api/v1/namespaces/{name}/finalize", namespace)

    def apply_crds(self, folder: Path) -> None:
        """Apply the folder's CustomResourceDefinitions and wait until they are served.

        Raises:
            KubectlError: kubectl refused one, or one was not established within 60 s.
        """
        source = f"--filename={folder}"
        self.kubectl("apply", "--server-side", "--force-conflicts", source)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", source)

    def remove_data(self) -> None:
        """Delete the data folder; only after `stop`."""
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _own_plurals(self) -> list[str]:
        try:
            found = self.admin.get("/apis/edgecanary.dev/v1alpha1")["resources"]
        except ApiError:
            return []
        return [resource["name"] for resource in found if "/" not in resource["name"]]

    def _etcd_is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._etcd_port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _serves(self) -> bool:
        """Whether the server is ready and has made the namespace it makes for itself."""
        try:
            self.admin.get("/api/v1/namespaces/default")
        except (ApiError, OSError, HTTPException):
            return False
        return self.admin.is_ready()

    def _etcd_command(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peer_port))
        return [
            *self._place.enter,
            tools.etcd(),
            "--name=lab",
            f"--data-dir={self.data_dir / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server_command(self) -> list[str | Path]:
        return [
            *self._place.enter,
            tools.kube_apiserver(),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self._place.listen}",
            f"--advertise-address={self._place.address}",
            f"--secure-port={443 if self._place.enter else self.port}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self.ca_file}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.token_keys.public}",
            f"--service-account-signing-key-file={self.token_keys.private}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--kubelet-client-certificate={self._kubelet_client.certificate}",
            f"--kubelet-client-key={self._kubelet_client.key}",
            "--allow-privileged=true",
            "--profiling=false",
            *self._audit_args(),
            *self._extra,
        ]

    def _audit_args(self) -> list[str]:
        if not self._audit:
            return []
        policy = self.data_dir / "audit-policy.json"
        policy.write_text(audit.POLICY)
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log.path}"]


def _started(process: Process | None, what: str) -> Process:
    if process is None:
        raise LabError(f"{what} has not been started")
    return process
