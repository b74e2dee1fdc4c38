"""Label selectors and the choice of a variant."""

import pytest

from edgecanary.api.artifacts import Format, Variant
from edgecanary.api.meta import LabelSelector
from edgecanary.rollout.eligibility import NodeFacts, fitting_variant, misfit, misfits
from edgecanary.rollout.selector import matches

LABELS = {"hardware": "vnni", "edge": "true"}
FILE = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": "0" * 64, "sizeBytes": 1}


def variant(name: str, fmt: str = "ONNX", **requires: object) -> Variant:
    return Variant.model_validate(
        {"name": name, "format": fmt, "files": [FILE], "entrypoint": "m.onnx", "requires": requires or None}
    )


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"edge": "true"}}, True),
        ({"matchLabels": {"edge": "false"}}, False),
        ({"matchLabels": {"zone": ""}}, False),
        ({"matchExpressions": [{"key": "hardware", "operator": "In", "values": ["vnni", "neon"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "hardware", "operator": "NotIn", "values": ["vnni"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "edge", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}, False),
        (
            {"matchLabels": {"edge": "true"}, "matchExpressions": [{"key": "zone", "operator": "Exists"}]},
            False,
        ),
    ],
)
def test_selectors_mean_what_kubernetes_says(selector: dict[str, object], expected: bool) -> None:
    assert matches(LabelSelector.model_validate(selector), LABELS) is expected


NODE = NodeFacts("n1", LABELS, "amd64", 512 * 2**20, frozenset({"npu"}), runtimes=frozenset({Format.ONNX}))


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (variant("any"), None),
        (variant("tflite", "TFLite"), "no runtime for TFLite"),
        (variant("arm", architectures=["arm64"]), "architecture amd64 is not among arm64"),
        (variant("amd", architectures=["arm64", "amd64"]), None),
        (variant("big", minMemory="1Gi"), "memory 512.0 MiB is less than 1Gi"),
        (variant("fits", minMemory="512Mi"), None),
        (variant("gpu", accelerators=["gpu"]), "no accelerator gpu"),
        (variant("npu", accelerators=["npu"]), None),
        (
            variant("neon", nodeSelector={"matchLabels": {"hardware": "neon"}}),
            "the variant's nodeSelector does not match",
        ),
    ],
)
def test_a_variant_fits_when_all_that_it_requires_is_there(candidate: Variant, why: str | None) -> None:
    assert misfit(candidate, NODE) == why


def test_the_first_variant_that_fits_is_taken() -> None:
    candidates = [variant("arm", architectures=["arm64"]), variant("vnni"), variant("generic")]
    chosen = fitting_variant(candidates, NODE)
    assert chosen is not None
    assert chosen.name == "vnni"


def test_where_none_fits_each_variant_is_explained() -> None:
    candidates = [variant("arm", architectures=["arm64"]), variant("big", minMemory="1Gi")]
    assert fitting_variant(candidates, NODE) is None
    assert misfits(candidates, NODE) == (
        "arm: architecture amd64 is not among arm64; big: memory 512.0 MiB is less than 1Gi"
    )


def test_a_node_whose_agent_has_not_reported_may_have_any_runtime() -> None:
    assert misfit(variant("tflite", "TFLite"), NodeFacts("n2")) is None


def test_a_model_that_is_only_delivered_needs_no_runtime() -> None:
    ncnn = variant("ncnn", "NCNN")
    assert fitting_variant([ncnn], NODE) is None
    assert fitting_variant([ncnn], NODE, serve=False) == ncnn
