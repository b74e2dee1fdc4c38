"""Which revision a release assigns to a node."""

from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.rank import RANK_SPACE, format_bound, rank

A, B = "a" * 64, "b" * 64
SALT = "uid-1"


def statement(revision: str, **variant: object) -> dict[str, object]:
    file = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": revision, "sizeBytes": 1}
    built = {"name": "v", "format": "ONNX", "files": [file], "entrypoint": "m.onnx", **variant}
    tensor = [{"name": "x", "dtype": "FP32", "shape": [-1]}]
    return {
        "revision": revision,
        "version": revision[0],
        "variants": [built],
        "io": {"inputs": tensor, "outputs": tensor},
    }


def release(**fields: object) -> ModelReleaseSpec:
    return ModelReleaseSpec.model_validate({"model": "pump", "sequence": 1, "salt": SALT, **fields})


def canary(below: int, *stratum: str, **extra: object) -> dict[str, object]:
    cutoff = {"stratum": list(stratum), "below": format_bound(below)}
    return {**statement(B), "cutoffs": [cutoff], **extra}


NODE = NodeFacts("node-1", {"hardware": "vnni"}, "amd64")
RANK = rank(SALT, "node-1")


def test_a_node_whose_rank_is_below_the_bound_takes_the_canary() -> None:
    asked = assign(release(stable=statement(A), canary=canary(RANK + 1)), NODE)
    assert (asked.role, asked.revision) == (Role.CANARY, B)


def test_the_bound_itself_is_not_below() -> None:
    asked = assign(release(stable=statement(A), canary=canary(RANK)), NODE)
    assert (asked.role, asked.revision) == (Role.STABLE, A)


def test_only_the_bound_of_the_own_stratum_counts() -> None:
    spec = release(stable=statement(A), canary=canary(RANK_SPACE, "neon"), stratifyBy=["hardware"])
    assert assign(spec, NODE).role is Role.STABLE


def test_a_rejected_canary_reaches_nobody_even_while_the_release_names_it() -> None:
    rejected = [{"revision": B, "reason": "AnalysisFailed", "time": "2026-01-01T00:00:00Z"}]
    spec = release(stable=statement(A), canary=canary(RANK_SPACE), rejected=rejected)
    assert assign(spec, NODE).revision == A


def test_without_a_stable_revision_nodes_outside_the_canary_run_nothing() -> None:
    assert assign(release(canary=canary(0)), NODE).role is Role.NONE


def test_a_node_that_the_selector_leaves_out_is_not_addressed() -> None:
    spec = release(stable=statement(A), nodeSelector={"matchLabels": {"hardware": "neon"}})
    assert assign(spec, NODE).role is Role.NOT_TARGETED


def test_a_node_that_no_variant_fits_is_told_why() -> None:
    spec = release(stable=statement(A, requires={"architectures": ["arm64"]}))
    asked = assign(spec, NODE)
    assert asked.role is Role.INCOMPATIBLE
    assert "architecture amd64 is not among arm64" in asked.message


def test_a_node_that_no_canary_variant_fits_keeps_the_stable_revision() -> None:
    unfit = {**statement(B, requires={"architectures": ["arm64"]}), "cutoffs": canary(RANK_SPACE)["cutoffs"]}
    assert assign(release(stable=statement(A), canary=unfit), NODE).revision == A


def test_a_model_that_is_only_delivered_goes_to_nodes_without_a_runtime_for_it() -> None:
    bare = NodeFacts("node-1", {}, "amd64", runtimes=frozenset())
    assert assign(release(stable=statement(A)), bare).role is Role.INCOMPATIBLE
    assert assign(release(stable={**statement(A), "serve": False}), bare).role is Role.STABLE
