"""From what a person declared to what nodes read: EdgeModel specs as revision statements."""

from collections.abc import Mapping

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.modelrelease import CanaryStatement, ReleasedFile, RevisionStatement
from edgecanary.api.rollout_status import RevisionReference
from edgecanary.rollout.cohort import Stratum, to_cutoffs


def state(spec: EdgeModelSpec, revision: str) -> RevisionStatement:
    """The statement of the model's revision, without download addresses."""
    fields = spec.model_dump(by_alias=True, exclude={"signature": spec.signature is None})
    return RevisionStatement.model_validate({**fields, "revision": revision})


def without_urls(statement: RevisionStatement) -> RevisionStatement:
    """The statement without download addresses; what the planner works with."""
    variants = tuple(
        variant.model_copy(update={"files": tuple(_without_urls(file) for file in variant.files)})
        for variant in statement.variants
    )
    golden = statement.golden.model_copy(update={"url": None}) if statement.golden else None
    profile = statement.profile.model_copy(update={"url": None}) if statement.profile else None
    return plain(statement).model_copy(
        update={"variants": variants, "golden": golden, "profile": profile, "urls_expire_at": None}
    )


def _without_urls(file: ReleasedFile) -> ReleasedFile:
    deltas = tuple(delta.model_copy(update={"url": None}) for delta in file.deltas)
    return file.model_copy(update={"url": None, "deltas": deltas})


def plain(statement: RevisionStatement) -> RevisionStatement:
    """The statement without a canary's cutoffs and attempt."""
    fields = {name: getattr(statement, name) for name in RevisionStatement.model_fields}
    return RevisionStatement.model_construct(**fields)


def as_canary(
    statement: RevisionStatement, bounds: Mapping[Stratum, int], attempt: int, *, step: int = 0
) -> CanaryStatement:
    """The statement as a canary that reaches as far as the bounds say, which are those of the step."""
    fields = {name: getattr(statement, name) for name in RevisionStatement.model_fields}
    return CanaryStatement.model_construct(**fields, attempt=attempt, step=step, cutoffs=to_cutoffs(bounds))


def reference(statement: RevisionStatement) -> RevisionReference:
    """The revision's digest and version."""
    return RevisionReference(revision=statement.revision, version=statement.version)
