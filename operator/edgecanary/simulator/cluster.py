"""The API server's part: the objects as they are, and who is told of their changes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from edgecanary.api.edgemodel import EdgeModel, EdgeModelStatus
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.meta import Condition, ConditionType
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.snapshot import NodeView

Listener = Callable[[], None]


@dataclass
class Cluster:
    """One Rollout, its EdgeModel and ModelRelease, and the fleet as the operator's cache has it."""

    rollout: Rollout
    model: EdgeModel | None = None
    release: ModelRelease | None = None
    views: dict[str, NodeView] = field(default_factory=dict)
    release_writes: int = 0
    status_writes: int = 0
    on_change: list[Listener] = field(default_factory=list)
    """Called when something changed that the operator watches."""
    on_release: list[Listener] = field(default_factory=list)
    """Called when the release changed."""
    _created: int = 0

    def set_view(self, view: NodeView) -> None:
        """A Node or its EdgeNode changed."""
        self.views[view.facts.name] = view
        self._changed()

    def drop_view(self, name: str) -> None:
        """A Node is gone, and its EdgeNode with it."""
        del self.views[name]
        self._changed()

    def set_online(self, name: str, *, online: bool) -> None:
        """The Node's Ready condition."""
        view = self.views[name]
        if view.online != online:
            self.set_view(replace(view, online=online))

    def take_report(self, name: str, report: NodeModelStatus) -> None:
        """An agent wrote its EdgeNode's status."""
        if name in self.views:
            self.set_view(replace(self.views[name], report=report))

    def set_model(self, model: EdgeModel | None) -> None:
        """A person set or deleted the EdgeModel, or its check ended."""
        self.model = model
        self._changed()

    def set_rollout(self, rollout: Rollout) -> None:
        """A person changed the Rollout."""
        self.rollout = rollout
        self._changed()

    def write_release(self, spec: ModelReleaseSpec) -> bool:
        """Writes the release when it says something new, as the next in its sequence; whether it did."""
        known = self.release.spec if self.release else None
        sequence = known.sequence if known else 0
        if known is not None and spec.model_copy(update={"sequence": sequence}) == known:
            return False
        self._put_release(spec.model_copy(update={"sequence": sequence + 1}))
        self.release_writes += 1
        return True

    def drop_release(self) -> None:
        """Somebody deletes the ModelRelease."""
        self.release = None
        for listener in self.on_release:
            listener()
        self._changed()

    def write_status(self, status: RolloutStatus) -> bool:
        """Writes the Rollout's status when it differs; whether it did."""
        if status == self.rollout.status:
            return False
        self.rollout = self.rollout.model_copy(update={"status": status})
        self.status_writes += 1
        return True

    def _put_release(self, spec: ModelReleaseSpec) -> None:
        if self.release is None:
            self._created += 1
        metadata = self.rollout.metadata
        uid = self.release.metadata.uid if self.release else f"release-{self._created}-of-{metadata.uid}"
        owned = metadata.model_copy(update={"uid": uid, "annotations": {}})
        self.release = ModelRelease(metadata=owned, spec=spec)
        for listener in self.on_release:
            listener()
        self._changed()

    def _changed(self) -> None:
        for listener in self.on_change:
            listener()


def checked(model: EdgeModel, now: datetime) -> EdgeModel:
    """The EdgeModel once its check has found nothing wrong."""
    ready = Condition(
        type=ConditionType.READY,
        status="True",
        reason="Accepted",
        last_transition_time=now,
        observed_generation=model.metadata.generation,
    )
    status = EdgeModelStatus(
        observed_generation=model.metadata.generation,
        revision=revision_digest(model.spec),
        version=model.spec.version,
        conditions=(ready,),
    )
    return model.model_copy(update={"status": status})
