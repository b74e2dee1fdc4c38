"""Zoo models as EdgeModel manifests."""

import pytest

from edgecanary.api.edgemodel import EdgeModel
from edgelab.modelzoo import VariantOf, Zoo, bucket_files, edge_model, edge_model_spec, open_zoo


@pytest.fixture(scope="module")
def zoo() -> Zoo:
    return open_zoo()


def test_the_spec_of_every_model_is_an_edge_model(zoo: Zoo) -> None:
    for model in zoo.values():
        manifest = edge_model("file-type", "plant", edge_model_spec(model, "s3://models", secret="keys"))
        parsed = EdgeModel.model_validate(manifest)
        assert parsed.spec.version == model.version
        assert parsed.spec.source_secret_ref is not None
        assert parsed.spec.source_secret_ref.name == "keys"
        assert [variant.name for variant in parsed.spec.variants] == [model.name]


def test_the_spec_names_what_lies_in_the_bucket(zoo: Zoo) -> None:
    model = zoo["int8"]
    spec = EdgeModel.model_validate(
        edge_model("file-type", "plant", edge_model_spec(model, "s3://models/folder/"))
    ).spec
    assert spec.golden is not None
    named = {spec.golden.uri: spec.golden.sha256, spec.variants[0].files[0].uri: model.model.sha256}
    assert named == {
        f"s3://models/folder/{key}": (model.golden if key.endswith(".npz") else model.model).sha256
        for key in bucket_files(model)
    }
    assert spec.variants[0].files[0].size_bytes == model.model.path.stat().st_size
    assert spec.golden.size_bytes == model.golden.path.stat().st_size


def test_variants_can_be_different_models_for_different_nodes(zoo: Zoo) -> None:
    variants = [VariantOf("small", zoo["int8"], {"hardware": "vnni"}), VariantOf("any", zoo["fp32"])]
    spec = edge_model_spec(zoo["int8"], "s3://models", variants=variants)
    parsed = EdgeModel.model_validate(edge_model("file-type", "plant", spec)).spec
    assert [variant.name for variant in parsed.variants] == ["small", "any"]
    first, second = parsed.variants
    assert first.requires is not None
    assert first.requires.node_selector is not None
    assert first.requires.node_selector.match_labels == {"hardware": "vnni"}
    assert second.requires is None
    assert second.files[0].sha256 == zoo["fp32"].model.sha256


def test_without_a_secret_the_spec_names_none(zoo: Zoo) -> None:
    assert "sourceSecretRef" not in edge_model_spec(zoo["tiny"], "https://models.example.com")
