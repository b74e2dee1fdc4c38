"""Every corpus, and a few thousand small changes of it, through the same functions that are fuzzed."""

import random
import zlib

import pytest

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, Target

CHANGED = 1000
"""Changed inputs for each target."""

SLOW = {"http": 300}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_was_seen_before_is_taken_or_refused(target: Target) -> None:
    for path in sorted(target.corpus.iterdir()):
        _try(target, path.read_bytes(), path.name)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_small_changes_are_taken_or_refused(target: Target) -> None:
    corpus = [path.read_bytes() for path in sorted(target.corpus.iterdir())]
    chance = random.Random(zlib.crc32(target.name.encode()))
    for number in range(SLOW.get(target.name, CHANGED)):
        data = mutate(chance.choice(corpus), corpus, chance, target.limit)
        _try(target, data, f"change {number}")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_has_the_seeds_that_its_maker_makes(target: Target) -> None:
    made = {f"seed-{name}" for name in seeds()[target.name]}
    there = {path.name for path in target.corpus.iterdir()}
    assert made == {name for name in there if not name.startswith("regression-")}


def _try(target: Target, data: bytes, name: str) -> None:
    try:
        target.run(data)
    except Exception as error:
        raise AssertionError(f"{target.name}, {name}: {data[:300]!r}") from error
