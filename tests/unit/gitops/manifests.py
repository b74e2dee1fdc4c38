"""The parts of Argo CD's and Flux's kinds that the examples use; a field that is not here is a mistake."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from edgecanary.api.fields import JsonObject
from edgelab.paths import ROOT

EXAMPLES = ROOT / "examples"


class Part(BaseModel):
    """Known fields only, under their names in YAML."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class Meta(Part):
    """Metadata."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Destination(Part):
    """A cluster by its name in Argo CD, and a namespace."""

    name: str
    namespace: str


class Helm(Part):
    """How a chart is rendered."""

    release_name: str


class Source(Part):
    """A folder of a repository."""

    repo_url: str = Field(alias="repoURL")
    target_revision: str
    path: str
    helm: Helm | None = None


class Backoff(Part):
    """Waits between tries."""

    duration: str
    factor: int
    max_duration: str


class Retry(Part):
    """How a failed sync is tried again."""

    limit: int
    backoff: Backoff
    refresh: bool = False


class Automated(Part):
    """What happens without a person."""

    prune: bool
    self_heal: bool


class SyncPolicy(Part):
    """How an application is synced."""

    automated: Automated | None = None
    sync_options: tuple[str, ...] = ()
    retry: Retry | None = None


class ApplicationSpec(Part):
    """One application."""

    project: str
    source: Source | None = None
    sources: tuple[Source, ...] = ()
    destination: Destination
    sync_policy: SyncPolicy


class Application(Part):
    """An Application."""

    api_version: Literal["argoproj.io/v1alpha1"]
    kind: Literal["Application"]
    metadata: Meta
    spec: ApplicationSpec


class Template(Part):
    """What an ApplicationSet makes applications of."""

    metadata: Meta
    spec: ApplicationSpec


class Requirement(Part):
    """Applications by a label."""

    key: str
    operator: Literal["In", "NotIn"]
    values: tuple[str, ...]


class Ring(Part):
    """Applications that are synced together."""

    match_expressions: tuple[Requirement, ...]
    max_update: str | int | None = None


class RollingSync(Part):
    """Rings, one after the other."""

    steps: tuple[Ring, ...]


class SetStrategy(Part):
    """In which order applications are synced."""

    type: Literal["RollingSync"]
    rolling_sync: RollingSync


class PreservedPolicy(Part):
    """What becomes of the applications' objects."""

    preserve_resources_on_deletion: bool


class ApplicationSetSpec(Part):
    """Generators and a template."""

    go_template: Literal[True]
    go_template_options: tuple[str, ...]
    generators: tuple[JsonObject, ...]
    strategy: SetStrategy | None = None
    sync_policy: PreservedPolicy | None = None
    template: Template


class ApplicationSet(Part):
    """An ApplicationSet."""

    api_version: Literal["argoproj.io/v1alpha1"]
    kind: Literal["ApplicationSet"]
    metadata: Meta
    spec: ApplicationSetSpec


class GroupKind(Part):
    """A kind that may be made."""

    group: str
    kind: str


class Role(Part):
    """What a group of people may do."""

    name: str
    description: str
    groups: tuple[str, ...]
    policies: tuple[str, ...]


class ProjectSpec(Part):
    """What applications may do."""

    description: str
    source_repos: tuple[str, ...]
    destinations: tuple[Destination, ...]
    cluster_resource_whitelist: tuple[GroupKind, ...]
    roles: tuple[Role, ...]


class Project(Part):
    """An AppProject."""

    api_version: Literal["argoproj.io/v1alpha1"]
    kind: Literal["AppProject"]
    metadata: Meta
    spec: ProjectSpec


class Reference(Part):
    """An object of Flux."""

    kind: str = ""
    name: str
    namespace: str = ""


class HealthExpressions(Part):
    """Health of a kind, in CEL."""

    api_version: str
    kind: str
    in_progress: str | None = None
    failed: str
    current: str


class KustomizationSpec(Part):
    """A folder that Flux applies."""

    depends_on: tuple[Reference, ...] = ()
    interval: str
    retry_interval: str
    timeout: str
    wait: bool
    prune: bool
    source_ref: Reference
    path: str
    health_check_exprs: tuple[HealthExpressions, ...] = ()


class Kustomization(Part):
    """A Kustomization of Flux."""

    api_version: Literal["kustomize.toolkit.fluxcd.io/v1"]
    kind: Literal["Kustomization"]
    metadata: Meta
    spec: KustomizationSpec


class RepositorySpec(Part):
    """A Git repository."""

    interval: str
    url: str
    ref: dict[Literal["branch", "tag"], str]


class Repository(Part):
    """A GitRepository of Flux."""

    api_version: Literal["source.toolkit.fluxcd.io/v1"]
    kind: Literal["GitRepository"]
    metadata: Meta
    spec: RepositorySpec


class AlertSpec(Part):
    """Whose events go where."""

    summary: str
    provider_ref: Reference
    event_severity: Literal["info", "error"]
    event_sources: tuple[Reference, ...]


class Alert(Part):
    """An Alert of Flux."""

    api_version: Literal["notification.toolkit.fluxcd.io/v1beta3"]
    kind: Literal["Alert"]
    metadata: Meta
    spec: AlertSpec


def documents(folder: Path) -> Iterator[JsonObject]:
    """The documents of a folder's files."""
    for file in sorted(folder.glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text())


def one(folder: Path, kind: type[Part], name: str) -> JsonObject:
    """The document of that kind and name."""
    (found,) = (
        body
        for body in documents(folder)
        if body["kind"]
        == kind.__name__.replace("Project", "AppProject").replace("Repository", "GitRepository")
        and isinstance(body["metadata"], dict)
        and body["metadata"]["name"] == name
    )
    return found
