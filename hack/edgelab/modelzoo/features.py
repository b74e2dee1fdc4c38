"""Turn a file into the tensor that the file-type model reads.

The model looks at both ends of a file: 1,024 bytes from the front, after leading white space, then 1,024
from the back, before trailing white space. White space is looked for within the outermost 4,096 bytes only.
A file too short to fill an end is padded, after its front and before its back, with the value 256, which no
byte has.
"""

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 4096
END_BYTES = 1024
FEATURE_COUNT = 2 * END_BYTES
PADDING = 256

Features: TypeAlias = NDArray[np.int32]
"""2,048 values from 0 to 256."""


def features_of_bytes(content: bytes) -> Features:
    """The features of a file with this content."""
    return _features(content[:BLOCK_BYTES], content[-BLOCK_BYTES:])


def features_of_file(path: Path) -> Features:
    """The features of a file on disk, of which at most 8,192 bytes are read.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        front = file.read(BLOCK_BYTES)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - BLOCK_BYTES))
        return _features(front, file.read(BLOCK_BYTES))


def is_padded(features: Features) -> bool:
    """Whether the file was too short to fill both ends."""
    return bool((features == PADDING).any())


def _features(front: bytes, back: bytes) -> Features:
    beginning = front.lstrip()[:END_BYTES]
    ending = back.rstrip()[-END_BYTES:]
    values: Features = np.full(FEATURE_COUNT, PADDING, dtype=np.int32)
    values[: len(beginning)] = np.frombuffer(beginning, dtype=np.uint8)
    values[FEATURE_COUNT - len(ending) :] = np.frombuffer(ending, dtype=np.uint8)
    return values
