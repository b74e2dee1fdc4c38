"""The well-formed things that inputs are made from and judged by."""

import random
from datetime import timedelta

import numpy as np

from edgecanary.agent.tensors import TensorType
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from tests.unit.agent.releasing import FixedClock, statement
from tests.unit.signing import CI, NOW, OLD, sealed, spec_of, with_signature

CLOCK = FixedClock()
IO = ModelIO(
    inputs=(TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="y", dtype=DataType.BYTES, shape=(-1,)),),
)
TENSORS = (
    (TensorType("x", "FP32", (-1, 4)), TensorType("t", "BYTES", (-1,))),
    (TensorType("y", "FP32", (-1, 4)),),
)
"""Inputs and outputs of the model that is asked, or whose golden file is loaded."""

OFFERED = with_signature(statement("1"), CI, sequence=3)
_SPEC = spec_of(OFFERED)
ENVELOPES = tuple(
    envelope.signed_by(CI).signed_by(OLD)
    for envelope in (
        sealed(_SPEC, sequence=3),
        sealed(_SPEC, sequence=4, issued=NOW - timedelta(days=3), expires=NOW - timedelta(days=2)),
        sealed(spec_of(statement("2", golden=b"golden"))),
    )
)
SIGNED_PAYLOADS = frozenset(
    {*(envelope.payload for envelope in ENVELOPES), sealed(_SPEC, sequence=3).payload}
)
"""All that the trusted keys have ever signed."""

GOLDEN_ARRAYS = {
    "input:x": np.arange(8, dtype=np.float32).reshape(2, 4),
    "input:t": np.array([["a"], ["b"]]),
    "output:y": np.zeros((2, 4), dtype=np.float32),
}

OLD_FILE = random.Random(5).randbytes(3000)
NEW_FILE = OLD_FILE[:1000] + b"something else" + OLD_FILE[1000:]
"""Two versions of a file, of which one is made by a delta."""
