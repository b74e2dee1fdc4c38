"""What the schema of an EdgeModel cannot say is checked before anything is fetched."""

import pytest

from edgecanary.api.artifacts import Format, ModelFile, ModelIO, TensorSpec, Variant
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.base.errors import InvalidInput
from edgecanary.controller.model_checks import check_spec

TENSOR = TensorSpec(name="x", dtype="FP32", shape=(-1,))


def spec(*variants: Variant, serve: bool = True) -> EdgeModelSpec:
    return EdgeModelSpec(
        version="1", variants=variants, io=ModelIO(inputs=(TENSOR,), outputs=(TENSOR,)), serve=serve
    )


def variant(*paths: str, kind: Format = Format.ONNX, size: int = 1, name: str = "v") -> Variant:
    files = tuple(ModelFile(path=p, uri=f"https://h/{p}", sha256="a" * 64, size_bytes=size) for p in paths)
    return Variant(name=name, format=kind, files=files, entrypoint=paths[0])


def test_a_plain_onnx_model_is_fine() -> None:
    check_spec(spec(variant("model.onnx", "data/weights", "data/labels")))


def test_a_file_below_another_file_cannot_be_stored() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_spec(spec(variant("model", "model/weights/0")))
    assert str(refusal.value) == (
        "spec.variants[0].files[1].path: 'model/weights/0' must not lie below 'model', which is a file"
    )


def test_files_of_different_variants_do_not_get_in_each_others_way() -> None:
    check_spec(spec(variant("model", name="a"), variant("model/x", name="b")))


def test_a_served_model_needs_a_variant_that_nodes_can_run() -> None:
    with pytest.raises(
        InvalidInput, match=r"spec\.variants: must hold a variant .* \(ONNX\), got NCNN, TFLite"
    ) as error:
        check_spec(spec(variant("a", kind=Format.TFLITE, name="a"), variant("b", kind=Format.NCNN, name="b")))
    assert error.value.reason == "UnsupportedFormat"
    assert "set spec.serve to false" in error.value.message


def test_one_variant_that_nodes_can_run_is_enough() -> None:
    check_spec(spec(variant("a", kind=Format.TFLITE, name="a"), variant("b", name="b")))


def test_a_model_that_is_only_delivered_may_have_any_format() -> None:
    check_spec(spec(variant("a", kind=Format.TVM), serve=False))


def test_files_that_are_too_large_together_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"spec\.variants\[0\]\.files: must have files of at most 1\.0 TiB together"
    ):
        check_spec(spec(variant("a", "b", size=2**40)))
