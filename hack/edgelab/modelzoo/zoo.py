"""The models of the demo, the tests and the benchmarks: what each is, and how it is made.

Every model has the file-type model's signature (or, on purpose, not quite) and a golden file. Nothing here
is random: the same packages and the same calibration files give the same bytes.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from edgelab.errors import LabError
from edgelab.modelzoo.features import FEATURE_COUNT, PADDING, Features, is_padded
from edgelab.modelzoo.field import Field, Sample
from edgelab.modelzoo.golden import answers, golden_bytes
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME, Published
from edgelab.modelzoo.quantize import CARELESS, PER_CHANNEL, PER_TENSOR, quantize
from edgelab.modelzoo.runtime import Model, Tensor
from edgelab.modelzoo.surgery import with_table_lookup
from edgelab.modelzoo.tiny import LABEL_COUNT, hungry_model, looping_model, tiny_model

GOLDEN_CASES = 6
CONFIDENT = 0.99
"""Golden cases are ones the published model is sure of: there, rounding to int8 moves the scores least."""

EXACT = "0.001"
ROUNDED = "0.05"
"""How far an int8 version's scores may be from the published model's."""

MAX_IR_VERSION = 10
MAX_OPSET = 17


@dataclass(frozen=True)
class Made:
    """A model and its golden file, as bytes."""

    name: str
    version: str
    summary: str
    model: bytes
    golden: bytes
    absolute_tolerance: str
    """For the golden outputs, in the scores' own unit (probability)."""


def make_all(published: Published, calibration: Field) -> Iterator[Made]:
    """Make every model, the published one first.

    Raises LabError when a model does not do to its golden cases what its summary says.
    """
    cases = golden_cases(published, calibration)
    with tempfile.TemporaryDirectory(prefix="edgelab-models-") as folder:
        bench = _Bench(Path(folder), {INPUT_NAME: cases})
        yield from _file_type_models(published, calibration, bench)
        yield from _faulty_models(bench)


def golden_cases(published: Published, calibration: Field) -> Features:
    """One ordinary file of each of six types that the published model is sure of, shape [6, 2048].

    They are full-sized files: none is short enough to need padding.
    """
    model = Model(published.path)
    chosen: dict[str, Sample] = {}
    for sample in calibration:
        if sample.label not in chosen and not is_padded(sample.features) and _is_sure(model, sample):
            chosen[sample.label] = sample
    if len(chosen) < GOLDEN_CASES:
        raise LabError(
            f"golden cases are needed for {GOLDEN_CASES} file types, full-sized files that the published "
            f"model is sure of were found for {sorted(chosen)} only"
        )
    return np.stack([sample.features for _, sample in sorted(chosen.items())][:GOLDEN_CASES])


def _is_sure(model: Model, sample: Sample) -> bool:
    scores = model.run({INPUT_NAME: sample.features[None]})[OUTPUT_NAME][0]
    return int(scores.argmax()) == sample.label_index and float(scores.max()) >= CONFIDENT


class _Bench:
    """Where models are tried before they are handed out."""

    def __init__(self, folder: Path, inputs: Mapping[str, Tensor]) -> None:
        self._folder = folder
        self.inputs = inputs

    def load(self, model: bytes) -> Model:
        path = self._folder / "model.onnx"
        path.write_bytes(model)
        return Model(path)

    def record(self, model: bytes) -> bytes:
        """A golden file with the answers that this very model gives."""
        return golden_bytes(self.inputs, answers(self.load(model), self.inputs))

    def distance(self, model: bytes, reference: Mapping[str, Tensor]) -> float:
        """The largest difference between the model's answers to the golden cases and the reference's."""
        given = answers(self.load(model), self.inputs)
        return float(np.abs(given[OUTPUT_NAME] - reference[OUTPUT_NAME]).max())


def _file_type_models(published: Published, calibration: Field, bench: _Bench) -> Iterator[Made]:
    """The file-type model in versions that agree on the golden cases, and one that is garbage."""
    original = published.path.read_bytes()
    reference = answers(bench.load(original), bench.inputs)
    golden = golden_bytes(bench.inputs, reference)
    for name, version, summary, model, tolerance in _agreeing(published, original, calibration.inputs()):
        distance = bench.distance(model, reference)
        if not distance <= float(tolerance):
            raise LabError(
                f"{name}: its golden answers are {distance:.4f} away, at most {tolerance} is allowed"
            )
        yield Made(name, version, summary, model, golden, tolerance)
    careless = _serialized(
        "int8-careless", quantize(onnx.load_model_from_string(original), calibration.inputs(), CARELESS)
    )
    if not bench.distance(careless, reference) > CONFIDENT / 2:
        raise LabError("int8-careless: its golden answers are good, garbage was expected")
    summary = "every operator in int8: garbage, with a golden file recorded from itself"
    yield Made("int8-careless", "3.0.0", summary, careless, bench.record(careless), EXACT)


def _agreeing(
    published: Published, original: bytes, calibration: Features
) -> Iterator[tuple[str, str, str, bytes, str]]:
    """Name, version, summary, model and tolerance of each version that agrees on the golden cases."""
    yield "fp32", "1.0.0", "the published model, byte for byte", original, EXACT

    int8 = quantize(onnx.load_model_from_string(original), calibration, PER_TENSOR)
    yield "int8", "2.0.0", "static int8, per tensor", _serialized("int8", int8), ROUNDED

    lookup = with_table_lookup(published.path)
    yield "lookup", "4.0.0", "fp32, bytes looked up in their table", _serialized("lookup", lookup), EXACT

    both = quantize(lookup, calibration, PER_CHANNEL)
    yield (
        "lookup-int8",
        "5.0.0",
        "lookup in static int8, per channel",
        _serialized("lookup-int8", both),
        ROUNDED,
    )

    short = with_table_lookup(published.path, rows=PADDING)
    summary = "lookup without the padding's row: fails at run time on files shorter than 1 KiB"
    yield "short-table", "6.0.0", summary, _serialized("short-table", short), EXACT


def _faulty_models(bench: _Bench) -> Iterator[Made]:
    """Models of a kilobyte: one that is well, the others each with a fault that a node's probe must find."""
    tiny = tiny_model()
    golden = bench.record(_serialized("tiny", tiny))
    cases = len(bench.inputs[INPUT_NAME])
    invented = golden_bytes(bench.inputs, {OUTPUT_NAME: np.zeros((cases, LABEL_COUNT), dtype=np.float32)})
    faulty = (
        ("tiny", "0.1.0", "well-behaved, without meaning", tiny, golden),
        (
            "wrong-input-name",
            "0.2.0",
            "its input is called otherwise",
            tiny_model(input_name="octets"),
            golden,
        ),
        (
            "wrong-output-name",
            "0.3.0",
            "its output is called otherwise",
            tiny_model(output_name="class"),
            golden,
        ),
        ("wrong-dtype", "0.4.0", "its input is INT64", tiny_model(element=TensorProto.INT64), golden),
        ("wrong-shape", "0.5.0", "its input is [-1, 1024]", tiny_model(width=FEATURE_COUNT // 2), golden),
        ("endless", "0.6.0", "loads at once and never answers", looping_model(), invented),
        ("hungry", "0.7.0", "asks for 64 GiB when it runs", hungry_model(), invented),
    )
    for name, version, summary, model, golden_file in faulty:
        yield Made(name, version, summary, _serialized(name, model), golden_file, EXACT)


def _serialized(name: str, model: ModelProto) -> bytes:
    """The model's bytes; raises LabError when the runtimes of older agents could not read them."""
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if model.ir_version > MAX_IR_VERSION or opset > MAX_OPSET:
        raise LabError(
            f"{name}: IR {model.ir_version} and opset {opset}, "
            f"at most {MAX_IR_VERSION} and {MAX_OPSET} are allowed"
        )
    content: bytes = model.SerializeToString(deterministic=True)
    return content
