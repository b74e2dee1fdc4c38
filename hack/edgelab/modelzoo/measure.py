"""How good and how fast a model is on real files."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgelab.modelzoo.field import Field
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME
from edgelab.modelzoo.runtime import RUN_ERRORS, Model
from edgelab.modelzoo.store import ZooModel

FAILED = -1


@dataclass(frozen=True)
class Measured:
    """A model on the field: what it answered to each file, and the CPU time that took."""

    answers: NDArray[np.int64]
    """Positions in the output; FAILED where the model failed."""
    cpu_milliseconds: float
    """Median over the files, one thread."""

    def accuracy(self, field: Field) -> float:
        """The share of files that got the right answer; a failure is not one."""
        return float((self.answers == field.answers()).mean())

    def accuracy_by_label(self, field: Field) -> Mapping[str, float]:
        """The same for each file type."""
        right = self.answers == field.answers()
        labels = np.array([sample.label for sample in field])
        return {label: float(right[labels == label].mean()) for label in field.counts()}

    def agreement(self, other: "Measured") -> float:
        """The share of files to which both gave the same answer."""
        return float((self.answers == other.answers).mean())

    def failed(self) -> float:
        """The share of files on which the model failed."""
        return float((self.answers == FAILED).mean())


def measure(model: ZooModel, field: Field) -> Measured:
    """Ask the model about every file, one at a time."""
    loaded = Model(model.model.path)
    answers: list[int] = []
    seconds: list[float] = []
    for sample in field:
        start = time.thread_time()
        try:
            scores = loaded.run({INPUT_NAME: sample.features[None]})[OUTPUT_NAME]
        except RUN_ERRORS:
            answers.append(FAILED)
        else:
            answers.append(int(scores[0].argmax()))
        seconds.append(time.thread_time() - start)
    return Measured(np.array(answers, dtype=np.int64), float(np.median(seconds)) * 1000)
