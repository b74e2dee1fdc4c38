"""Golden files: inputs and the answers that a model must give to them.

A golden file is an npz archive with one array for each tensor of the model's `io`: `input:<name>` for each
input and `output:<name>` for each output. The first dimension of every array is the number of cases. Nothing
in it is pickled.
"""

import io
from collections.abc import Mapping

import numpy as np

from edgelab.modelzoo.runtime import Model, Tensor

INPUT_PREFIX = "input:"
OUTPUT_PREFIX = "output:"


def golden_bytes(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> bytes:
    """A golden file with these inputs and answers; the same arrays give the same bytes."""
    arrays = {f"{INPUT_PREFIX}{name}": array for name, array in sorted(inputs.items())}
    arrays |= {f"{OUTPUT_PREFIX}{name}": array for name, array in sorted(outputs.items())}
    return archive(arrays)


def answers(model: Model, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model answers to each case when asked one at a time."""
    cases = len(next(iter(inputs.values())))
    singles = [
        model.run({name: array[case : case + 1] for name, array in inputs.items()}) for case in range(cases)
    ]
    return {info.name: np.concatenate([single[info.name] for single in singles]) for info in model.outputs}


def archive(arrays: Mapping[str, Tensor]) -> bytes:
    """An npz archive of these arrays, under any keys: also of ones that no golden file may have."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def bad_goldens(good: bytes) -> dict[str, bytes]:
    """Golden files that a node must refuse, by what is wrong with each; `good` is one that fits."""
    with np.load(io.BytesIO(good), allow_pickle=False) as file:
        arrays: dict[str, Tensor] = {key: file[key] for key in file.files}
    inputs = sorted(key for key in arrays if key.startswith(INPUT_PREFIX))
    outputs = sorted(key for key in arrays if key.startswith(OUTPUT_PREFIX))
    first, last = inputs[0], outputs[0]
    rest = {key: array for key, array in arrays.items() if key != first}
    objects = np.array([{"not": "numbers"}] * len(arrays[first]), dtype=object)
    pickled = io.BytesIO()
    np.savez(pickled, allow_pickle=True, **{**rest, first: objects})
    return {
        "not-an-npz": b"golden, but not an archive",
        "cut-short": good[: len(good) // 2],
        "pickled": pickled.getvalue(),
        "no-cases": archive({key: array[:0] for key, array in arrays.items()}),
        "wrong-name": archive(rest | {f"{first}-of-another-model": arrays[first]}),
        "no-input": archive(rest),
        "wrong-shape": archive(rest | {first: arrays[first][:, :-1]}),
        "wrong-dtype": archive(rest | {first: arrays[first].astype(np.float32)}),
        "cases-differ": archive(arrays | {last: arrays[last][:-1]}),
        "wrong-answers": archive(arrays | {last: arrays[last] + np.float32(1)}),
    }
