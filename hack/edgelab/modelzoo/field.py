"""Real inputs with known answers: files that any machine with this checkout has.

They come from the installed packages, the Python standard library and the checkout. The choice and the order
follow from the files' names, so two runs on the same files see the same data.
"""

import hashlib
import itertools
import os
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgelab.errors import LabError
from edgelab.modelzoo.features import Features, features_of_bytes
from edgelab.modelzoo.truth import MAX_BYTES, MIN_BYTES, known_label, rule_for
from edgelab.paths import ROOT

SKIPPED_FOLDERS = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})
MIN_TYPES = 5
TEST_FOLDERS = frozenset({"test", "tests"})


class Share(Enum):
    """Files are split by name: a part of the installed packages calibrates models, all else is the field.

    The two never meet, so the field judges a model on files it was not made with.
    """

    CALIBRATION = "calibration"
    FIELD = "field"


@dataclass(frozen=True)
class Sample:
    """One real file: where it came from, what it is, and what the model reads of it."""

    origin: str
    label: str
    label_index: int
    features: Features


@dataclass(frozen=True)
class Field:
    """Real files with known answers, in an order that mixes the types."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def counts(self) -> dict[str, int]:
        """Samples per label, by label."""
        return dict(sorted(Counter(sample.label for sample in self.samples).items()))

    def inputs(self) -> Features:
        """All features as one batch, shape [samples, 2048]."""
        return np.stack([sample.features for sample in self.samples])

    def answers(self) -> NDArray[np.int64]:
        """All right answers, as positions in the model's output."""
        return np.array([sample.label_index for sample in self.samples], dtype=np.int64)


@dataclass(frozen=True)
class Root:
    """A folder tree to take files from."""

    name: str
    folder: Path
    into_tests: bool
    """Whether to enter folders of tests; not every machine has those of the standard library."""


def default_roots() -> tuple[Root, ...]:
    """The installed packages, the standard library and the checkout."""
    paths = sysconfig.get_paths()
    return (
        Root("site-packages", Path(paths["purelib"]), into_tests=True),
        Root("stdlib", Path(paths["stdlib"]), into_tests=False),
        Root("checkout", ROOT, into_tests=True),
    )


def collect(
    labels: Sequence[str],
    *,
    share: Share = Share.FIELD,
    roots: Sequence[Root] | None = None,
    per_label: int = 40,
    minimum: int = 5,
) -> Field:
    """Gather up to `per_label` files of each type; a type with fewer than `minimum` is left out.

    `labels` is the model's vocabulary, in the order of its output. Raises LabError when fewer than five types
    are found: with fewer, a model that always says the same could look good.
    """
    positions = {label: index for index, label in enumerate(labels)}
    found: dict[str, list[Sample]] = defaultdict(list)
    for origin, path in _candidates(default_roots() if roots is None else roots, share):
        rule = rule_for(path)
        if rule is None or rule.label not in positions or len(found[rule.label]) >= per_label:
            continue
        content = _content(path)
        if content is not None and known_label(path, content) == rule.label:
            features = features_of_bytes(content)
            found[rule.label].append(Sample(origin, rule.label, positions[rule.label], features))
    kept = [group for group in found.values() if len(group) >= minimum]
    if len(kept) < MIN_TYPES:
        counts = {label: len(group) for label, group in sorted(found.items())}
        raise LabError(
            f"field data was found for {counts}, at least {minimum} files of each of {MIN_TYPES} types are "
            "needed: run `make setup` to install the development environment into .venv"
        )
    samples = itertools.chain.from_iterable(kept)
    return Field(tuple(sorted(samples, key=lambda sample: _place(sample.origin))))


def _candidates(roots: Sequence[Root], share: Share) -> list[tuple[str, Path]]:
    """Files whose name calls for a rule, in the order of their origins' digests."""
    found: list[tuple[bytes, str, Path]] = []
    for root in roots:
        for path in _files(root):
            origin = f"{root.name}/{path.relative_to(root.folder).as_posix()}"
            place = _place(origin)
            if rule_for(path) is not None and _share(origin, place) is share:
                found.append((place, origin, path))
    return [(origin, path) for _, origin, path in sorted(found)]


def _files(root: Root) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root.folder):
        subfolders[:] = [name for name in subfolders if _enters(root, name)]
        yield from (Path(folder, name) for name in names)


def _enters(root: Root, folder: str) -> bool:
    if folder in TEST_FOLDERS:
        return root.into_tests
    return folder not in SKIPPED_FOLDERS and not folder.startswith(".")


def _content(path: Path) -> bytes | None:
    """The file's content, or None when it is a link, of an unfit size, or not readable."""
    try:
        if path.is_symlink() or not MIN_BYTES <= path.stat().st_size <= MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _place(origin: str) -> bytes:
    return hashlib.sha256(origin.encode()).digest()


def _share(origin: str, place: bytes) -> Share:
    """Folders of package metadata hold paths of this machine, so models are not made from them."""
    calibrates = origin.startswith("site-packages/") and ".dist-info/" not in origin and place[0] % 8 == 0
    return Share.CALIBRATION if calibrates else Share.FIELD
