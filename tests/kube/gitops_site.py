"""A site of examples/argocd in a lab: Git's manifests, applied and compared as Argo CD does it."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, ROLLOUTS, Resource
from edgelab.api import APPLY_PATCH
from edgelab.controlplane import ControlPlane
from edgelab.errors import KubectlError
from edgelab.generate import argocd
from edgelab.paths import ROOT
from tests.kube.operator_lab import OperatorLab
from tests.unit.gitops.argo_diff import compared, in_sync_legacy
from tests.unit.gitops.argo_lua import ArgoCD

NAME = "pump"
SITES = ROOT / "examples" / "argocd" / "sites"
KINDS: dict[str, Resource] = {"EdgeModel": EDGE_MODELS, "Rollout": ROLLOUTS}
MANAGER = "argocd-controller"
"""As whom Argo CD applies."""

ARGO = ArgoCD()


def build(control_plane: ControlPlane, folder: Path) -> list[JsonObject]:
    """What kustomize makes of a folder."""
    return list(yaml.safe_load_all(control_plane.kubectl("kustomize", str(folder))))


def ignored_paths(kind: str) -> list[str]:
    """The jq paths of config/argocd/optional/ignore-defaults.yaml for a kind."""
    document = yaml.safe_load((ROOT / argocd.DEFAULTS).read_text())
    entry = document["data"].get(f"resource.customizations.ignoreDifferences.edgecanary.dev_{kind}")
    return yaml.safe_load(entry)["jqPathExpressions"] if entry else []


@dataclass
class Site:
    """One site: `git` holds its manifests by kind, which tests change as commits do."""

    lab: OperatorLab
    git: dict[str, JsonObject]
    server_side: bool = True

    def sync(self) -> None:
        """Applies what Git says, as Argo CD does."""
        how = ["--server-side", "--force-conflicts"] if self.server_side else []
        self._kubectl("apply", *how, f"--field-manager={MANAGER}", "--validate=strict")

    def live(self, kind: str) -> JsonObject:
        return self.lab.get(KINDS[kind], NAME)

    def health(self, kind: str) -> str:
        return ARGO.health(self.live(kind)).status

    def act(self, action: str) -> JsonObject:
        """Runs the action on the live Rollout and applies its merge patch, as Argo CD's server does."""
        live = self.live("Rollout")
        assert action in ARGO.enabled(live), ARGO.actions(live)
        patch = ARGO.act(live, action)
        return self.lab.api.patch(f"{self.lab.path(ROLLOUTS, NAME)}?fieldManager=argocd-server", patch)

    def differences(self) -> list[str]:
        """By which comparison which kind is out of sync; empty when Argo CD and kubectl find nothing."""
        found = [] if self._kubectl_diff_is_empty() else ["kubectl diff"]
        for kind, git in self.git.items():
            live, resource = self.live(kind), KINDS[kind]
            path = f"{self.lab.path(resource, NAME)}?fieldManager={MANAGER}&force=true&dryRun=All"
            predicted = self.lab.api.patch(path, git, content_type=APPLY_PATCH)
            if compared(predicted) != compared(live):
                found.append(f"{kind} server-side")
            if not in_sync_legacy(git, live, ignored=ignored_paths(kind)):
                found.append(f"{kind} legacy")
        return found

    def in_sync_by_legacy_alone(self, kind: str) -> bool:
        """Whether the legacy comparison finds nothing without the optional settings."""
        return in_sync_legacy(self.git[kind], self.live(kind))

    def _kubectl_diff_is_empty(self) -> bool:
        how = ["--server-side", "--force-conflicts", f"--field-manager={MANAGER}"] if self.server_side else []
        try:
            self._kubectl("diff", *how)
        except KubectlError as error:
            if error.exit_code != 1:
                raise
            return False
        return True

    def _kubectl(self, *arguments: str) -> str:
        text = "---\n".join(json.dumps(body) + "\n" for body in self.git.values())
        return self.lab.control_plane.kubectl(*arguments, "-f", "-", stdin=text)


def site_in(lab: OperatorLab, model: JsonObject, *, server_side: bool) -> Site:
    """The example's site Hamburg for the lab's nodes: the model that is there, no bakes, and gates that only look."""
    bodies = {str(body["kind"]): body for body in build(lab.control_plane, SITES / "hamburg")}
    git = copy.deepcopy(bodies)
    for body in git.values():
        cast("JsonObject", body["metadata"]).update(name=NAME, namespace=lab.namespace)
    git["EdgeModel"]["spec"] = {**model, "version": "2.4.0"}
    rollout = cast("dict[str, object]", git["Rollout"]["spec"])
    rollout["modelRef"] = {"name": NAME}
    rollout["nodeSelector"] = {"matchLabels": {"lab": lab.label}}
    for step in cast("dict[str, list[JsonObject]]", rollout["strategy"])["steps"]:
        step["bakeSeconds"] = 0
    analysis = cast("dict[str, object]", rollout["analysis"])
    analysis["prometheus"] = {"url": "http://127.0.0.1:9"}
    for metric in cast("list[JsonObject]", analysis["metrics"]):
        metric["mode"] = "DryRun"
    return Site(lab, git, server_side)


def commit(site: Site, version: str, tolerance: str) -> None:
    """Another revision of the same files: its golden outputs must be met more closely."""
    spec = cast("dict[str, object]", site.git["EdgeModel"]["spec"])
    spec["version"] = version
    spec["golden"] = {**cast("JsonObject", spec["golden"]), "absoluteTolerance": tolerance}
