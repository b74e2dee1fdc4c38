"""All methods on the traces of one cell, in batches of runs, and the results on disk."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates import cells, ours, peers, traces
from benchmarks.gates.cells import GOOD, Cell, Onset, Regression, Scope
from benchmarks.gates.ours import CLEARED, OURS, Outcome, Trial
from benchmarks.gates.peers import PEERS, SLOW_PEERS, Looks
from benchmarks.gates.traces import Feed, Traces, running
from edgecanary.analysis import (
    baseline,
    counts,
    exposure,
    grid,
    negative_binomial,
    randomization,
    settings,
    stretches,
)

BATCH_NODE_TICKS = 80_000_000
"""Bounds the memory of one batch to less than two gigabytes."""

SEED = 20261122

_TRACES = (traces.__file__, cells.__file__, __file__)
_STATISTICS = (baseline, counts, exposure, grid, negative_binomial, randomization, settings, stretches)
_SOURCES = {
    "peers": (*_TRACES, peers.__file__),
    "ours": (*_TRACES, ours.__file__, *(module.__file__ for module in _STATISTICS)),
}


def _digest(files: Sequence[str | None]) -> str:
    digest = hashlib.sha256()
    for file in files:
        assert file is not None
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


CODE = {group: _digest(files) for group, files in _SOURCES.items()}
"""Digests of the code that decides the results, as it was when this process began."""


@dataclass(frozen=True)
class Result:
    """One method and one regression in one cell.

    `alarm` (horizons, runs) and `cleared` (ratios, runs) are looks, 0 is never. `requests` are those that the
    canaries had answered with the regression by the alarm within the longest horizon.
    """

    alarm: Looks
    cleared: Looks
    requests: NDArray[np.float32]


Results = dict[tuple[str, Regression], Result]


def results_of(cell: Cell, folder: Path) -> Results:
    """What all methods did in a cell; what the folder has already is taken from there."""
    groups = {name: _file(cell, name, folder) for name in _SOURCES}
    missing = {name: file for name, file in groups.items() if not file.exists()}
    for name, found in _judge_all(cell, set(missing)).items():
        _write(missing[name], found)
    merged: Results = {}
    for file in groups.values():
        merged.update(_read(file, cell.regressions))
    return merged


def is_done(cell: Cell, folder: Path) -> bool:
    """Whether the folder has all results of the cell."""
    return all(_file(cell, name, folder).exists() for name in _SOURCES)


def judges(method: str, cell: Cell, regression: Regression) -> bool:
    """Whether the method judges the regression: the peers those from the start on, the slow ones two of them."""
    if method in OURS:
        return ours.judges(method, cell.conditions, regression)
    from_start = regression.onset is Onset.START and regression.scope is Scope.ALL
    return from_start and (method not in SLOW_PEERS or regression.ratio in (1, 2))


def looks_for(regression: Regression, ticks: int) -> list[int]:
    """After every tick for a good revision; after every fourth tick from the 60th on for one that is bad at once.

    The others are looked at after each of 16 ticks from their begin on, and then at the latest after a tenth of
    the time since. That saves time and can only make a detection later.
    """
    if regression == GOOD:
        return list(range(1, ticks + 1))
    if regression.onset is Onset.START and regression.scope is Scope.ALL:
        return [*range(1, 61), *range(64, ticks + 1, 4)]
    begin = cells.begin(regression, ticks)
    since = [
        *range(1, 17),
        *range(18, 33, 2),
        *range(36, 65, 4),
        *range(72, 121, 8),
        *range(132, ticks + 1, 12),
    ]
    return [*range(24, begin + 1, 24), *(begin + look for look in since if begin + look <= ticks)]


def _judge_all(cell: Cell, groups: set[str]) -> dict[str, Results]:
    batches: dict[str, list[Results]] = {name: [] for name in groups}
    if not groups:
        return {}
    for batch in _batches(cell):
        for name in groups:
            batches[name].append(_JUDGES[name](cell, batch))
    return {name: _joined(parts) for name, parts in batches.items()}


def _batches(cell: Cell) -> Iterator[Traces]:
    conditions = cell.conditions
    span = conditions.history_ticks + conditions.ticks
    size = max(1, min(cell.runs, BATCH_NODE_TICKS // (conditions.nodes * span)))
    name = int.from_bytes(hashlib.sha256(cell.name.encode()).digest()[:4], "big")
    for number, begin in enumerate(range(0, cell.runs, size)):
        yield traces.generate(conditions, min(size, cell.runs - begin), (SEED, name, number))


def _judge_peers(cell: Cell, batch: Traces) -> Results:
    usual = batch.history.bad.sum(-1) / np.maximum(batch.history.total.sum(-1), 1)
    feed, found = Feed.of(batch), {}
    good = peers.groups(feed, usual)
    none = np.zeros((len(CLEARED), batch.runs), np.int16)
    for regression in cell.regressions:
        series = peers.with_canaries(good, cells.regressed(batch, regression))
        for name, judge in PEERS.items():
            if judges(name, cell, regression):
                found[name, regression] = _result(Outcome(judge(series), none), feed, regression)
    return found


def _judge_ours(cell: Cell, batch: Traces) -> Results:
    feed, found = Feed.of(batch), {}
    ticks = batch.conditions.ticks
    trials = {
        regression: Trial(running(cells.regressed(batch, regression)), looks_for(regression, ticks))
        for regression in cell.regressions
    }
    for name, method in ours.methods(batch.conditions, batch.history).items():
        wanted = [regression for regression in cell.regressions if judges(name, cell, regression)]
        outcomes = method.judge(feed, [trials[regression] for regression in wanted])
        for regression, outcome in zip(wanted, outcomes, strict=True):
            found[name, regression] = _result(outcome, feed, regression)
    return found


_JUDGES: Mapping[str, Callable[[Cell, Traces], Results]] = {"peers": _judge_peers, "ours": _judge_ours}


def _result(outcome: Outcome, feed: Feed, regression: Regression) -> Result:
    canaries = feed.conditions.canaries
    alarm = outcome.alarm[-1].astype(np.int64)
    begin = cells.begin(regression, feed.conditions.ticks)
    runs = np.arange(feed.runs)
    answered = feed.total[np.maximum(alarm, begin), runs, :canaries] - feed.total[begin, runs, :canaries]
    return Result(outcome.alarm, outcome.cleared, answered.sum(1, dtype=np.float32))


def _joined(parts: Sequence[Results]) -> Results:
    return {
        key: Result(
            np.concatenate([part[key].alarm for part in parts], axis=1),
            np.concatenate([part[key].cleared for part in parts], axis=1),
            np.concatenate([part[key].requests for part in parts]),
        )
        for key in parts[0]
    }


def _file(cell: Cell, group: str, folder: Path) -> Path:
    """Named by all that decides the results, so that results of other code are never taken."""
    digest = hashlib.sha256(repr((cell, SEED, CODE[group])).encode())
    slug = re.sub(r"[^a-z0-9]+", "-", cell.name.lower()).strip("-")
    return folder / f"{slug}-{group}-{digest.hexdigest()[:12]}.npz"


def _write(file: Path, found: Results) -> None:
    arrays = {}
    for (method, regression), result in found.items():
        for field in ("alarm", "cleared", "requests"):
            arrays[f"{method}|{regression}|{field}"] = getattr(result, field)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    partial.replace(file)


def _read(file: Path, regressions: Sequence[Regression]) -> Results:
    named = {str(regression): regression for regression in regressions}
    with np.load(file) as arrays:
        keys = {name.rpartition("|")[0] for name in arrays.files}
        return {
            (method, named[text]): Result(
                *(arrays[f"{key}|{field}"] for field in ("alarm", "cleared", "requests"))
            )
            for key in keys
            for method, _, text in [key.partition("|")]
        }
