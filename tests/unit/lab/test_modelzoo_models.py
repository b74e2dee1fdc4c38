"""The models: what each is good for, measured on real files; and how they are kept."""

import io
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgelab.modelzoo import Field, Measured, Zoo, bad_goldens, collect, measure, open_zoo
from edgelab.modelzoo.features import features_of_bytes
from edgelab.modelzoo.golden import INPUT_PREFIX, OUTPUT_PREFIX
from edgelab.modelzoo.measure import FAILED
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME, published_model
from edgelab.modelzoo.runtime import RUN_ERRORS, Model, TensorInfo
from edgelab.modelzoo.tiny import hungry_model, looping_model, tiny_model

FILE_TYPE_MODELS = ("fp32", "int8", "lookup", "lookup-int8", "int8-careless", "short-table")
GOOD_MODELS = ("fp32", "int8", "lookup", "lookup-int8")
WRONG_SIGNATURE = ("wrong-input-name", "wrong-output-name", "wrong-dtype", "wrong-shape")
SIGNATURE = (
    (TensorInfo(INPUT_NAME, "tensor(int32)", (-1, 2048)),),
    (TensorInfo(OUTPUT_NAME, "tensor(float)", (-1, 214)),),
)


@pytest.fixture(scope="module")
def zoo() -> Zoo:
    return open_zoo()


@pytest.fixture(scope="module")
def field(zoo: Zoo) -> Field:
    return collect(zoo.labels, per_label=15)


@pytest.fixture(scope="module")
def measured(zoo: Zoo, field: Field) -> dict[str, Measured]:
    return {name: measure(zoo[name], field) for name in FILE_TYPE_MODELS}


def test_the_first_model_is_the_published_one_byte_for_byte(zoo: Zoo) -> None:
    assert zoo["fp32"].model.path.read_bytes() == published_model().path.read_bytes()


@pytest.mark.parametrize("name", GOOD_MODELS)
def test_a_good_model_is_right_about_real_files(
    name: str, measured: dict[str, Measured], field: Field
) -> None:
    assert measured[name].accuracy(field) >= 0.95
    assert measured[name].agreement(measured["fp32"]) >= 0.97
    assert measured[name].failed() == 0


def test_looking_up_bytes_changes_no_answer(measured: dict[str, Measured]) -> None:
    assert measured["lookup"].agreement(measured["fp32"]) == 1


def test_the_int8_models_are_a_third_of_the_size(zoo: Zoo) -> None:
    for name in ("int8", "lookup-int8", "int8-careless"):
        assert zoo[name].model.size_bytes < zoo["fp32"].model.size_bytes / 3


def test_the_careless_model_is_wrong_about_nearly_every_real_file(
    measured: dict[str, Measured], field: Field
) -> None:
    assert measured["int8-careless"].accuracy(field) < 0.2
    assert measured["int8-careless"].failed() == 0


def test_the_short_table_fails_on_just_the_padded_files(
    zoo: Zoo, measured: dict[str, Measured], field: Field
) -> None:
    padded = (field.inputs() == 256).any(axis=1)
    assert 0.1 < padded.mean() < 0.6
    assert np.array_equal(measured["short-table"].answers == FAILED, padded)
    full = measured["short-table"].answers[~padded]
    assert np.array_equal(full, measured["fp32"].answers[~padded])


@pytest.mark.parametrize("name", [*FILE_TYPE_MODELS, "tiny"])
def test_a_model_passes_its_own_golden_file(name: str, zoo: Zoo) -> None:
    assert _golden_distance(zoo, name, name) <= float(zoo[name].absolute_tolerance)


def test_the_careless_model_passes_only_because_its_golden_file_was_recorded_from_itself(zoo: Zoo) -> None:
    assert _golden_distance(zoo, "int8-careless", "fp32") > 0.5
    assert _golden_distance(zoo, "int8-careless", "int8-careless") <= 0.001


def _golden_distance(zoo: Zoo, model: str, golden: str) -> float:
    """The largest difference of a model's answers to the outputs in a golden file, asked case by case."""
    with np.load(zoo[golden].golden.path, allow_pickle=False) as file:
        assert file.files == [f"{INPUT_PREFIX}{INPUT_NAME}", f"{OUTPUT_PREFIX}{OUTPUT_NAME}"]
        inputs, outputs = (file[key] for key in file.files)
    assert (inputs.dtype, inputs.shape) == (np.int32, (6, 2048))
    assert (outputs.dtype, outputs.shape) == (np.float32, (6, 214))
    loaded = Model(zoo[model].model.path)
    answers = [loaded.run({INPUT_NAME: case[None]})[OUTPUT_NAME][0] for case in inputs]
    return float(np.abs(np.stack(answers) - outputs).max())


def test_golden_files_hold_several_file_types(zoo: Zoo) -> None:
    with np.load(zoo["fp32"].golden.path) as file:
        answers = file[f"{OUTPUT_PREFIX}{OUTPUT_NAME}"].argmax(axis=1)
    assert len(set(answers.tolist())) == 6


def test_every_model_has_a_digest_of_its_own(zoo: Zoo) -> None:
    digests = [model.model.sha256 for model in zoo.values()]
    versions = [model.version for model in zoo.values()]
    assert len(set(digests)) == len(set(versions)) == len(zoo)


def test_every_model_but_the_wrong_ones_has_the_same_signature(zoo: Zoo) -> None:
    for name, model in zoo.items():
        loaded = Model(model.model.path)
        same = (loaded.inputs, loaded.outputs) == SIGNATURE
        assert same is (name not in WRONG_SIGNATURE), name


def test_tiny_models_differ_by_their_seed_only() -> None:
    assert tiny_model(1).SerializeToString() == tiny_model(1).SerializeToString()
    assert tiny_model(1).SerializeToString() != tiny_model(2).SerializeToString()


def test_the_endless_models_loop_ends_when_it_is_given_an_end(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(looping_model(trips=3).SerializeToString())
    assert Model(path).run({INPUT_NAME: features_of_bytes(b"x")[None]})[OUTPUT_NAME].shape == (1, 214)


def test_the_endless_model_does_not_answer(zoo: Zoo) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        _run_once(zoo["endless"].model.path, timeout=5)


def test_the_hungry_model_fails_under_a_memory_limit(zoo: Zoo) -> None:
    result = _run_once(zoo["hungry"].model.path, timeout=120, address_space=8 * 2**30)
    assert result.returncode == 3, result.stderr
    assert "68719476736" in result.stdout


def test_the_hungry_model_answers_when_its_hunger_is_small(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(hungry_model(elements=10).SerializeToString())
    assert Model(path).run({INPUT_NAME: features_of_bytes(b"x")[None]})[OUTPUT_NAME].shape == (1, 214)


def _run_once(
    path: Path, *, timeout: float, address_space: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a model once in a process of its own; exit code 3 is a failure that the runtime reports."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from edgelab.modelzoo.runtime import Model, RUN_ERRORS\n"
        "model = Model(Path(sys.argv[1]))\n"
        "try: model.run({'bytes': np.zeros((1, 2048), dtype=np.int32)})\n"
        "except RUN_ERRORS as error: print(error); sys.exit(3)\n"
    )

    def limit() -> None:
        if address_space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    hack = Path(__file__).parents[3] / "hack"
    return subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        check=False,
        cwd=hack,
        preexec_fn=limit,
        text=True,
        timeout=timeout,
    )


def test_a_model_that_fails_at_run_time_raises_an_error_of_the_runtime(zoo: Zoo) -> None:
    with pytest.raises(RUN_ERRORS, match="out of data bounds"):
        Model(zoo["short-table"].model.path).run({INPUT_NAME: features_of_bytes(b"short")[None]})


def test_bad_golden_files_are_each_bad_in_their_own_way(zoo: Zoo) -> None:
    good = zoo["fp32"].golden.path.read_bytes()
    bad = bad_goldens(good)
    assert len({*bad.values(), good}) == len(bad) + 1
    with np.load(io.BytesIO(bad["pickled"])) as file, pytest.raises(ValueError, match="pickle"):
        file[f"{INPUT_PREFIX}{INPUT_NAME}"]
    assert {"not-an-npz", "cut-short", "pickled", "wrong-name", "wrong-shape", "wrong-dtype"} <= bad.keys()


@pytest.fixture
def own_copy(tmp_path: Path, zoo: Zoo) -> Path:
    """A place that has the zoo already, for a test to damage; to make one takes half a minute."""
    shutil.copytree(zoo.folder, tmp_path / zoo.folder.name)
    return tmp_path


def test_the_zoo_is_made_once_and_made_again_only_when_it_was_damaged(own_copy: Path, zoo: Zoo) -> None:
    first = open_zoo(own_copy)
    made = first["fp32"].model.path.stat().st_ino
    assert open_zoo(own_copy)["fp32"].model.path.stat().st_ino == made

    damaged = first["int8"].golden.path
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = open_zoo(own_copy)
    assert again["int8"].golden.path.read_bytes() == content
    assert {name: model.model.sha256 for name, model in again.items()} == {
        name: model.model.sha256 for name, model in zoo.items()
    }
    assert {name: model.golden.sha256 for name, model in again.items()} == {
        name: model.golden.sha256 for name, model in zoo.items()
    }


def test_a_half_written_zoo_is_never_opened(own_copy: Path, zoo: Zoo) -> None:
    (own_copy / zoo.folder.name / "zoo.json").write_text('{"models": [')
    assert len(open_zoo(own_copy)) == len(zoo)
    assert not list(own_copy.glob(".new-*"))
