"""Drift profiles: what is read, and what a hostile or careless file comes to."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.profile import MAX_BYTES, parse_profile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.base.errors import InvalidInput

IO = ModelIO(
    inputs=(
        TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 4)),
        TensorSpec(name="words", dtype=DataType.BYTES, shape=(-1,)),
    ),
    outputs=(TensorSpec(name="y", dtype=DataType.FP32, shape=(-1, 4)),),
)


def feature(**changes: object) -> dict[str, Any]:
    plain = {
        "source": "Input",
        "tensor": "x",
        "statistic": "Mean",
        "edges": [0, 1],
        "shares": [0.2, 0.3, 0.5, 0],
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def profile(*features: dict[str, Any], **changes: object) -> bytes:
    found = {"formatVersion": 1, "samples": 1000, "features": list(features) or [feature()], **changes}
    return json.dumps(found).encode()


def test_a_profile_is_read() -> None:
    found = parse_profile(profile(feature(), feature(statistic="Element", element=3)), IO)
    assert [item.name for item in found.features] == ["x.Mean", "x.Element3"]
    assert found.features[0].edges == (0.0, 1.0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file: Invalid JSON"),
        (b"\xff\xfe", "the file: Invalid JSON"),
        (b"[" * 50_000, "the file: Invalid JSON"),
        (b" " * (MAX_BYTES + 1), "must be at most 65536 bytes, got 65537"),
        (b"[]", "the file: Input should be an object"),
        (profile(formatVersion=2), "formatVersion: Input should be 1"),
        (profile(samples=0), "samples: Input should be greater than or equal to 1"),
        (profile(features=[]), "features: Tuple should have at least 1 item"),
        (
            profile(*[feature(statistic="Element", element=i) for i in range(11)]),
            "features: Tuple should have at most",
        ),
        (profile(feature(), feature()), "features must differ in tensor, statistic or element"),
        (profile(feature(edges=[1, 0])), "edges must grow"),
        (profile(feature(edges=[0, 0])), "edges must grow"),
        (profile(feature(edges=[0, float("nan")])), "edges.1: Input should be a finite number"),
        (profile(feature(edges=[0, float("inf")])), "edges.1: Input should be a finite number"),
        (profile(feature(edges=list(range(9)))), "edges: Tuple should have at most 8 items"),
        (profile(feature(edges=[])), "edges: Tuple should have at least 1 item"),
        (profile(feature(shares=[0.5, 0.5, 0])), "shares must be 4, two more than edges, got 3"),
        (profile(feature(shares=[0.5, 0.5, 0.5, 0])), "shares must sum up to 1, got 1.5"),
        (profile(feature(shares=[1.5, -0.5, 0, 0])), "shares.0: Input should be less than or equal to 1"),
        (profile(feature(element=1)), "element must be given for the statistic Element, and only for it"),
        (profile(feature(statistic="Element")), "element must be given for the statistic Element"),
        (profile(feature(statistic="Confidence")), "Confidence must be of an output"),
        (profile(feature(statistic="Median")), "statistic: Input should be 'Mean'"),
        (profile(feature(tensor="z")), "features.0.tensor: 'z' must be an input of spec.io: x, words"),
        (profile(feature(source="Output")), "features.0.tensor: 'x' must be an output of spec.io: y"),
        (profile(feature(tensor="words")), "input 'words' must hold numbers"),
    ],
)
def test_a_profile_that_breaks_a_rule_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_profile(data, IO)
    assert refused.value.reason == "ProfileInvalid"
    assert refused.value.message.startswith("spec.profile: ")
    assert said in refused.value.message
    assert len(refused.value.message) < 500


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_refused_and_nothing_else_is_raised(noise: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_profile(noise, IO)
