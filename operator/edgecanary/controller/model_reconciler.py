"""One look at an EdgeModel: its revision, the checks of its files, what nodes measured, the status."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from edgecanary.api.edgemodel import EdgeModel, EdgeModelStatus, VariantStatus
from edgecanary.api.edgenode import ProbeMeasurement
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import ConditionType
from edgecanary.artifact.onnx_content import DEFAULT_DOMAINS
from edgecanary.artifact.revision import revision_digest
from edgecanary.base.errors import (
    EdgecanaryError,
    InvalidInput,
    NotAllowed,
    NotFound,
    Unavailable,
    WrongAnswer,
)
from edgecanary.base.quantities import human_bytes
from edgecanary.clients.events import Subject
from edgecanary.clients.resources import EDGE_MODELS
from edgecanary.controller.model_checks import Checked, check_model, plural
from edgecanary.controller.signing import open_store
from edgecanary.controller.tools import Tools
from edgecanary.controller.views import ObjectKey, parse
from edgecanary.rollout.conditions import (
    ReadyStatus,
    Situation,
    build_conditions,
    done,
    find_condition,
    is_true,
    stuck,
    working,
)
from edgecanary.rollout.grants import GRANTS_UNREADABLE, refusal
from edgecanary.rollout.snapshot import PlannedEvent

_GROWTH = 1.25
_RECHECK = timedelta(minutes=10)
_RETRY_BASE = timedelta(seconds=1)
_RETRY_CAP = timedelta(minutes=5)
_FOR_THE_USER = frozenset({"SourceForbidden", "Forbidden"})
"""Reasons of Unavailable that a person has to see to."""

_MEASURED = ("load_milliseconds", "latency_p95_milliseconds", "peak_memory_bytes")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _About:
    """Which spec of which object: what a check is about."""

    uid: str
    generation: int


@dataclass(frozen=True)
class _Result:
    """What a check came to, and from when on it is to be made again; None never."""

    about: _About
    situation: Situation
    variants: tuple[VariantStatus, ...]
    again: datetime | None = None
    failures: int = 0


@dataclass(frozen=True)
class _Loaded:
    """An EdgeModel as the server has it."""

    key: ObjectKey
    body: JsonObject
    model: EdgeModel
    revision: str

    @property
    def about(self) -> _About:
        return _About(self.model.metadata.uid, self.model.metadata.generation)


class ModelReconciler:
    """Checks EdgeModels. What it found is in their status; it only remembers when to try again."""

    def __init__(self, tools: Tools, random: Random, domains: Collection[str] = DEFAULT_DOMAINS) -> None:
        """`domains` are those whose operators an ONNX file may use."""
        self._tools = tools
        self._domains = domains
        self._random = random
        self._results: dict[ObjectKey, _Result] = {}

    def reconcile(self, key: ObjectKey) -> float | None:
        """Checks one EdgeModel where that is due and writes its status.

        Returns the seconds until the next try, None when only an event can change something. Raises Conflict
        when somebody else wrote meanwhile, and the API server's other errors.
        """
        try:
            body = self._tools.kube.get(EDGE_MODELS, key.name, namespace=key.namespace)
        except NotFound:
            self._results.pop(key, None)
            return None
        loaded = _load(key, body)
        if loaded.model.metadata.deletion_timestamp is not None:
            return None
        refused = refusal(lambda: self._tools.tenancy.of(key.namespace).check_model(loaded.model.spec))
        if refused is not None and not (refused.reason == GRANTS_UNREADABLE and _is_verified(loaded)):
            self._results.pop(key, None)
            self._write(loaded, self._status(loaded, _not_allowed(refused), _unknown(loaded.model)))
            return None
        if _is_verified(loaded):
            self._write(loaded, loaded.model.status)
            return None
        result = self._known_result(loaded)
        if result is None:
            loaded = self._announce(loaded)
            result = self._results[key] = self._check(loaded)
        self._write(loaded, self._status(loaded, result.situation, result.variants))
        return None if result.again is None else self._seconds_until(result.again)

    def _known_result(self, loaded: _Loaded) -> _Result | None:
        """The last result, as long as it need not be made again."""
        known = self._results.get(loaded.key)
        if known is None or known.about != loaded.about:
            return None
        if known.again is not None and known.again <= self._tools.clock.now():
            return None
        return known

    def _announce(self, loaded: _Loaded) -> _Loaded:
        """Says that a new spec is being checked: that may take minutes."""
        if loaded.model.status.observed_generation == loaded.model.metadata.generation:
            return loaded
        situation = working("Checking", f"the files of {loaded.model.spec.version} are being checked")
        return self._write(loaded, self._status(loaded, situation, _unknown(loaded.model)))

    def _check(self, loaded: _Loaded) -> _Result:
        spec = loaded.model.spec
        try:
            allowance = self._tools.tenancy.of(loaded.key.namespace)
            store = open_store(self._tools.secrets, loaded.key.namespace, spec.source_secret_ref, allowance)
            checked = check_model(spec, store, self._domains)
        except NotAllowed as error:
            again = self._tools.clock.now() + _RECHECK
            return _Result(loaded.about, _not_allowed(error), _unknown(loaded.model), again)
        except (InvalidInput, NotFound, WrongAnswer) as error:
            return self._retry(loaded, Situation("False", error.reason, error.message, reconciling=True))
        except Unavailable as error:
            ready: ReadyStatus = "False" if error.reason in _FOR_THE_USER else "Unknown"
            return self._retry(loaded, Situation(ready, error.reason, error.message, reconciling=True))
        return self._judge(loaded, checked)

    def _judge(self, loaded: _Loaded, checked: Checked) -> _Result:
        if checked.problem is not None:
            situation = stuck(checked.problem.reason, checked.problem.message)
            return _Result(loaded.about, situation, checked.variants, self._tools.clock.now() + _RECHECK)
        size = human_bytes(sum(file.size_bytes for v in loaded.model.spec.variants for file in v.files))
        text = f"{plural(len(checked.variants), 'variant')}, {size}: all files are as declared"
        return _Result(loaded.about, done("Verified", text), checked.variants)

    def _retry(self, loaded: _Loaded, situation: Situation) -> _Result:
        """A result that is to be made again, after a random time of growing bound."""
        known = self._results.get(loaded.key)
        failures = known.failures + 1 if known is not None and known.about == loaded.about else 1
        most = min(_RETRY_CAP, _RETRY_BASE * 2 ** min(failures, 16))
        again = self._tools.clock.now() + most * self._random.uniform(0.2, 1)
        log.warning(
            "model %s: %s: %s; try %d follows", loaded.key, situation.reason, situation.message, failures + 1
        )
        return _Result(loaded.about, situation, _unknown(loaded.model), again, failures)

    def _status(
        self, loaded: _Loaded, situation: Situation, variants: tuple[VariantStatus, ...]
    ) -> EdgeModelStatus:
        old, generation = loaded.model.status, loaded.model.metadata.generation
        known = {v.name: v for v in old.variants} if old.revision == loaded.revision else {}
        return EdgeModelStatus(
            observed_generation=generation,
            revision=loaded.revision,
            version=loaded.model.spec.version,
            variants=tuple(_keep_measurements(variant, known.get(variant.name)) for variant in variants),
            conditions=build_conditions(
                old.conditions, situation, generation=generation, now=self._tools.clock.now()
            ),
        )

    def _write(self, loaded: _Loaded, status: EdgeModelStatus) -> _Loaded:
        """Writes the status, with what nodes measured, where it says anything new."""
        probes = self._tools.cache.probes(loaded.key, loaded.revision)
        variants = tuple(_grow(variant, probes.get(variant.name)) for variant in status.variants)
        wanted = status.model_copy(update={"variants": variants})
        if wanted.to_json() == loaded.model.status.to_json():
            return loaded
        self._tell(loaded, wanted)
        body: JsonObject = {**loaded.body, "status": wanted.to_json()}
        key = loaded.key
        written = self._tools.kube.replace_status(EDGE_MODELS, key.name, body, namespace=key.namespace)
        return _load(key, written)

    def _tell(self, loaded: _Loaded, status: EdgeModelStatus) -> None:
        """An Event when the model comes to be verified, or comes into trouble."""
        before = find_condition(loaded.model.status.conditions, ConditionType.READY)
        ready = find_condition(status.conditions, ConditionType.READY)
        if ready is None or ready.reason == "Checking" or (before and before.reason == ready.reason):
            return
        key, uid = loaded.key, loaded.model.metadata.uid
        log.info("model %s: %s: %s", key, ready.reason, ready.message)
        event = PlannedEvent(ready.reason, ready.message, warning=ready.status != "True")
        try:
            self._tools.events.record(Subject(EDGE_MODELS, key.namespace, key.name, uid), event)
        except EdgecanaryError as error:
            # What is found must not wait for being told.
            log.warning("model %s: no Event could be written: %s", key, error)

    def _seconds_until(self, moment: datetime) -> float:
        return max(0.05, (moment - self._tools.clock.now()).total_seconds())


def _load(key: ObjectKey, body: JsonObject) -> _Loaded:
    model = parse(EdgeModel, body)
    return _Loaded(key, body, model, revision_digest(model.spec))


def _is_verified(loaded: _Loaded) -> bool:
    status = loaded.model.status
    return (
        status.observed_generation == loaded.model.metadata.generation
        and status.revision == loaded.revision
        and is_true(status.conditions, ConditionType.READY)
    )


def _not_allowed(refused: NotAllowed) -> Situation:
    """What to say of a model that an administrator's rules forbid."""
    if refused.reason == GRANTS_UNREADABLE:
        return working(GRANTS_UNREADABLE, refused.message)
    return stuck(refused.reason, refused.message)


def _unknown(model: EdgeModel) -> tuple[VariantStatus, ...]:
    return tuple(VariantStatus(name=variant.name) for variant in model.spec.variants)


def _keep_measurements(variant: VariantStatus, known: VariantStatus | None) -> VariantStatus:
    if known is None:
        return variant
    return variant.model_copy(update={name: getattr(known, name) for name in _MEASURED})


def _grow(variant: VariantStatus, probe: ProbeMeasurement | None) -> VariantStatus:
    """Takes in a measurement that is the first or much larger than the known one.

    Small differences between nodes are not worth a write each.
    """
    if probe is None:
        return variant
    update = {}
    for name in _MEASURED:
        known, found = getattr(variant, name), getattr(probe, name)
        if known is None or found > known * _GROWTH:
            update[name] = found
    return variant.model_copy(update=update)
