"""Who is targeted and in which stratum: what is remembered equals the plain definition, always."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.api.artifacts import Format, ModelIO
from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import ReleasedVariant, RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.rollout.cohort import Share, Stratum, cutoffs, stratum_of
from edgecanary.rollout.eligibility import NodeFacts, fitting, fitting_variant
from edgecanary.rollout.fleet import Progress, count, count_strata, progress, targets, view_step
from edgecanary.rollout.rank import rank
from edgecanary.rollout.roster import everybody, pick, roster
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import model, rollout

REVISION = model("1.0.0").status.revision or ""
LABELS = st.fixed_dictionaries(
    {},
    optional={
        "edge": st.sampled_from(["true", "false"]),
        "hardware": st.sampled_from(["vnni", "neon", "gpu"]),
    },
)
REPORTS = st.none() | st.builds(
    NodeModelStatus,
    namespace=st.just("plant"),
    name=st.just("pump"),
    active=st.sampled_from([None, REVISION, "b" * 64]),
    desired=st.sampled_from([None, REVISION, "b" * 64]),
    state=st.sampled_from(ModelState),
    result=st.sampled_from(ModelResult),
    attempt=st.integers(0, 2),
)
SELECTORS = st.sampled_from(
    [
        LabelSelector(),
        LabelSelector(match_labels={"edge": "true"}),
        LabelSelector.model_validate(
            {"matchExpressions": [{"key": "hardware", "operator": "In", "values": ["vnni", "gpu"]}]}
        ),
        LabelSelector.model_validate({"matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}),
    ]
)


def variant(name: str, requires: dict[str, object] | None, fmt: str = "ONNX") -> ReleasedVariant:
    file = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": "0" * 64, "sizeBytes": 1}
    return ReleasedVariant.model_validate(
        {"name": name, "format": fmt, "entrypoint": "m.onnx", "files": [file], "requires": requires}
    )


VARIANTS = st.lists(
    st.sampled_from(
        [
            variant("any", None),
            variant("arm", {"architectures": ["arm64"]}),
            variant("big", {"minMemory": "1Gi"}),
            variant("npu", {"accelerators": ["npu"]}),
            variant("vnni", {"nodeSelector": {"matchLabels": {"hardware": "vnni"}}}),
            variant(
                "arm-neon",
                {"architectures": ["arm64"], "nodeSelector": {"matchLabels": {"hardware": "neon"}}},
            ),
            variant("tflite", None, "TFLite"),
        ]
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[NodeView, ...]:
    numbers = draw(st.lists(st.integers(0, 60), unique=True, max_size=25))
    return tuple(
        NodeView(
            NodeFacts(
                f"node-{number}",
                draw(LABELS),
                draw(st.sampled_from(["amd64", "arm64"])),
                draw(st.sampled_from([2**28, 2**30])),
                draw(st.sampled_from([frozenset(), frozenset({"npu"})])),
                draw(st.sampled_from([None, frozenset({Format.ONNX}), frozenset[Format]()])),
            ),
            online=draw(st.booleans()),
            report=draw(REPORTS),
        )
        for number in numbers
    )


def spec(selector: LabelSelector, keys: tuple[str, ...]) -> RolloutSpec:
    plain = rollout().spec
    strategy = plain.strategy.model_copy(update={"stratify_by": keys})
    return plain.model_copy(update={"node_selector": selector, "strategy": strategy})


def statement(variants: list[ReleasedVariant], *, serve: bool) -> RevisionStatement:
    io = ModelIO.model_validate(
        {
            "inputs": [{"name": "x", "dtype": "FP32", "shape": [1]}],
            "outputs": [{"name": "y", "dtype": "FP32", "shape": [1]}],
        }
    )
    return RevisionStatement.model_construct(
        revision=REVISION, version="1.0.0", variants=tuple(variants), io=io, serve=serve
    )


@dataclass(frozen=True)
class Plain:
    """The definition, node by node, without a memory."""

    eligible: list[NodeView]
    incompatible: list[NodeView]

    @classmethod
    def of(cls, fleet: tuple[NodeView, ...], selector: LabelSelector, told: RevisionStatement) -> "Plain":
        selected = sorted(
            (node for node in fleet if matches(selector, node.facts.labels)), key=lambda n: n.facts.name
        )
        fits = [bool(fitting_variant(told.variants, node.facts, serve=told.serve)) for node in selected]
        return cls(
            [node for node, fit in zip(selected, fits, strict=True) if fit],
            [node for node, fit in zip(selected, fits, strict=True) if not fit],
        )

    def members(self, keys: tuple[str, ...]) -> dict[Stratum, list[str]]:
        found: dict[Stratum, list[str]] = {}
        for node in self.eligible:
            found.setdefault(stratum_of(node.facts.labels, keys), []).append(node.facts.name)
        return found

    def inside(self, keys: tuple[str, ...], bounds: dict[Stratum, int], salt: str) -> list[NodeView]:
        return [
            node
            for node in self.eligible
            if rank(salt, node.facts.name) < bounds.get(stratum_of(node.facts.labels, keys), 0)
        ]


KEYS = st.sampled_from([(), ("hardware",), ("hardware", "edge"), ("zone",)])


@given(fleets(), SELECTORS, VARIANTS, st.booleans(), KEYS, st.integers(1, 100), st.sampled_from("stu"))
@settings(max_examples=150, deadline=None)
def test_the_fast_view_of_a_fleet_equals_the_plain_one(
    fleet: tuple[NodeView, ...],
    selector: LabelSelector,
    variants: list[ReleasedVariant],
    serve: bool,
    keys: tuple[str, ...],
    percent: int,
    salt: str,
) -> None:
    told = statement(variants, serve=serve)
    plain = Plain.of(fleet, selector, told)
    found = targets(spec(selector, keys), fleet, told)
    assert (list(found.eligible), list(found.incompatible)) == (plain.eligible, plain.incompatible)
    assert dict(found.by_stratum(keys)) == plain.members(keys)

    share = Share(percent=percent)
    bounds = cutoffs(found.by_stratum(keys), share, salt=salt, current={})
    assert bounds == cutoffs(plain.members(keys), share, salt=salt, current={})

    view = view_step(found, keys, bounds, salt=salt, revision=REVISION, attempt=1)
    inside = plain.inside(keys, bounds, salt)
    far = {node.facts.name: progress(node.report, REVISION, 1) for node in inside}
    assert list(view.nodes) == inside
    assert list(view.updated) == [n for n in inside if far[n.facts.name] is Progress.UPDATED]
    assert list(view.failed) == [n for n in inside if far[n.facts.name] is Progress.FAILED]
    assert list(view.pending) == [n for n in inside if n.online and far[n.facts.name] is Progress.PENDING]
    assert list(view.missing) == [n for n in inside if far[n.facts.name] is not Progress.UPDATED]
    assert view.online == sum(node.online for node in inside)

    counts = count(found, view, wanted=None)
    assert counts.online == sum(node.online for node in plain.eligible)
    assert counts.failed == counts.failures.probe + counts.failures.health


@given(fleets(), SELECTORS, KEYS)
def test_strata_are_counted_over_all_that_the_selector_matches(
    fleet: tuple[NodeView, ...], selector: LabelSelector, keys: tuple[str, ...]
) -> None:
    matched = [node.facts.labels for node in fleet if matches(selector, node.facts.labels)]
    assert count_strata(spec(selector, keys), fleet) == len({stratum_of(labels, keys) for labels in matched})


@given(fleets(), VARIANTS, st.booleans())
def test_fitting_many_nodes_says_what_is_said_of_each(
    fleet: tuple[NodeView, ...], variants: list[ReleasedVariant], serve: bool
) -> None:
    facts = [node.facts for node in fleet]
    each = [fitting_variant(variants, node, serve=serve) is not None for node in facts]
    assert fitting(variants, facts, serve=serve) == each


def node(name: str, **labels: str) -> NodeFacts:
    return NodeFacts(name, labels, "amd64", 2**30)


ANY = statement([variant("any", None)], serve=True)


def test_a_fleet_that_did_not_change_has_the_same_roster() -> None:
    facts = (node("a"), node("b"))
    assert roster(LabelSelector(), facts, ANY) is roster(LabelSelector(), (node("a"), node("b")), ANY)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param((node("a"),), id="one leaves"),
        pytest.param((node("a"), node("b"), node("c")), id="one joins"),
        pytest.param((node("a"), node("b", edge="false")), id="a label changes"),
        pytest.param((node("a"), NodeFacts("b", {}, "arm64", 2**30)), id="the hardware changes"),
        pytest.param((node("b"), node("a")), id="the order changes"),
    ],
)
def test_a_fleet_that_changed_has_a_roster_of_its_own(changed: tuple[NodeFacts, ...]) -> None:
    arm = statement([variant("amd", {"architectures": ["amd64"]})], serve=True)
    selector = LabelSelector.model_validate(
        {"matchExpressions": [{"key": "edge", "operator": "NotIn", "values": ["false"]}]}
    )
    before = roster(selector, (node("a"), node("b")), arm)
    assert [before.facts[position].name for position in before.eligible] == ["a", "b"]
    after = roster(selector, changed, arm)
    assert after.facts == changed
    wanted = sorted(n.name for n in changed if n.labels.get("edge") != "false" and n.architecture == "amd64")
    assert [after.facts[position].name for position in after.eligible] == wanted


def test_revisions_that_require_the_same_share_a_roster_and_others_do_not() -> None:
    facts = (node("a"),)
    kept = roster(LabelSelector(), facts, ANY)
    assert roster(LabelSelector(), facts, statement([variant("other", None)], serve=True)) is kept
    assert roster(LabelSelector(), facts, statement([variant("any", None)], serve=False)) is not kept
    assert (
        roster(LabelSelector(), facts, statement([variant("a", {"minMemory": "1Gi"})], serve=True))
        is not kept
    )
    assert everybody(LabelSelector(), facts) is not kept
    assert roster(LabelSelector(), facts, None).incompatible == (0,)


def test_several_fleets_may_be_looked_at_in_turn() -> None:
    one = tuple(NodeView(node(f"a{i}"), online=True) for i in range(3))
    other = tuple(NodeView(node(f"b{i}"), online=True) for i in range(5))
    wanted = spec(LabelSelector(), ())
    for _ in range(3):
        assert len(targets(wanted, one, ANY).eligible) == 3
        assert len(targets(wanted, other, ANY).eligible) == 5
    assert targets(wanted, other, ANY) is targets(wanted, other, ANY)


def test_a_fleet_in_a_list_may_change_between_two_looks() -> None:
    fleet = [NodeView(node("a"), online=True)]
    wanted = spec(LabelSelector(), ())
    assert len(targets(wanted, fleet, ANY).eligible) == 1
    fleet.append(NodeView(node("b"), online=True))
    assert len(targets(wanted, fleet, ANY).eligible) == 2


def test_the_same_nodes_with_other_reports_are_seen_anew() -> None:
    told = NodeModelStatus(
        namespace="plant", name="pump", active=REVISION, desired=REVISION, state=ModelState.ACTIVE
    )
    before = (NodeView(node("a"), online=True),)
    after = (NodeView(before[0].facts, online=False, report=told),)
    wanted = spec(LabelSelector(), ())
    found = targets(wanted, before, ANY)
    assert (len(found.settled(REVISION).updated), found.online) == (0, 1)
    again = targets(wanted, after, ANY)
    assert (len(again.settled(REVISION).updated), again.online) == (1, 0)
    assert again.roster is found.roster


@pytest.mark.parametrize("positions", [(), (2,), (0, 2), (2, 1, 0)])
def test_picking_gives_the_items_at_the_positions(positions: tuple[int, ...]) -> None:
    assert pick(positions, ("a", "b", "c")) == tuple("abc"[position] for position in positions)
