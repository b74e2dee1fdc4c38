"""The figures as docs/benchmarks-agent.md."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.serving.compare import CLIENTS, REST_SECONDS, ROUNDS, SECONDS, Cell, Comparison
from benchmarks.serving.life import IDLE_SECONDS, STARTS, Life, Several
from benchmarks.serving.models import BenchModel
from benchmarks.serving.swap import CLIENTS as SWAP_CLIENTS
from benchmarks.serving.swap import Swap

MIB = 2**20
OURS, REFERENCE = "edgecanary", "MLServer"
GOAL_P50, GOAL_MEMORY, GOAL_ABOVE_BARE = 0.3, 0.55, 130.0


@dataclass(frozen=True)
class Figures:
    """All that was measured, and how busy the machine was."""

    comparison: Comparison
    lives: Sequence[Life]
    several: Sequence[Several]
    swaps: Sequence[Swap]
    load_before: float
    load_after: float


def page(machine: Machine, models: Sequence[BenchModel], figures: Figures, plots: Sequence[Path]) -> str:
    """The whole page; the paths of the plots are from its folder."""
    parts = (
        _head(machine, models, figures),
        _goals(figures),
        _plots(plots),
        _answers(figures.comparison),
        _memory(figures),
        _starts(figures.lives),
        _swaps(figures.swaps),
        _paced(figures.swaps),
    )
    return "\n".join(line for part in parts for line in part)


def _head(machine: Machine, models: Sequence[BenchModel], figures: Figures) -> Iterable[str]:
    yield "# Benchmarks of the node agent"
    yield ""
    yield "Written by `make bench-agent`; run it to measure on your machine. The agent is the real one, without a"
    yield "network, on models in its data directory. MLServer and KServe's Python server run in environments of their"
    yield "own, pinned in `benchmarks/serving/peers`, with onnxruntime set as the agent sets it: one thread, no arena."
    yield "Each server is one process on one core; the client (raw sockets, the same for all) has another core where"
    yield f"there is one. A cell is the median of {ROUNDS} rounds of {SECONDS:g} s in which the servers take turns."
    yield ""
    yield f"{machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB of memory, {machine.architecture},"
    yield f"{machine.system}, Python {machine.python}. Load average before and after: {figures.load_before:.1f} and"
    yield f"{figures.load_after:.1f}. On a busy machine the times grow; the ratios are what counts."
    yield ""
    yield from _table(
        ("model", "what", "MB"), [(m.name, m.summary, f"{m.size_bytes / 1e6:.2f}") for m in models]
    )


def _goals(figures: Figures) -> Iterable[str]:
    yield "## Goals"
    yield ""
    yield "MLServer has no binary tensors over REST: binary answers are held against its JSON ones, which is what a"
    yield "client of it has to use."
    yield ""
    yield from _table(("goal", "worst", "met"), [_goal_row(*goal) for goal in _goal_figures(figures)])


def _goal_figures(figures: Figures) -> Iterable[tuple[str, float, float, str]]:
    comparison = figures.comparison
    for binary in (True, False):
        ratios = [
            ours.p50 / their.p50
            for ours, their in _pairs(comparison, REFERENCE, binary=binary)
            if ours.clients == 1
        ]
        form = "binary" if binary else "JSON"
        yield f"p50 of {form}, one client, to MLServer's JSON, at most {GOAL_P50}", max(ratios), GOAL_P50, ""
    above = [cell.p50 - cell.bare_p50 for cell in comparison.cells if _is_plain(cell)]
    yield (
        f"p50 above the bare call, binary, one client, small models, at most {GOAL_ABOVE_BARE:.0f} us",
        max(above),
        GOAL_ABOVE_BARE,
        " us",
    )
    own = [
        cell.p50 - cell.bare_p50 - (cell.exchange_p50 or 0) for cell in comparison.cells if _is_plain(cell)
    ]
    yield (
        f"the same less a bare exchange of as many bytes, at most {GOAL_ABOVE_BARE:.0f} us",
        max(own),
        GOAL_ABOVE_BARE,
        " us",
    )
    sizes = {(size.model, size.server): size.resident_bytes for size in comparison.sizes}
    memory = [sizes[model, OURS] / sizes[model, REFERENCE] for model, server in sizes if server == OURS]
    yield f"resident memory to MLServer's, at most {GOAL_MEMORY}", max(memory), GOAL_MEMORY, ""
    stalls = [swap.during["longest"] / swap.steady["p99"] for swap in figures.swaps]
    yield "longest answer during switches to the p99 without them, no pauses, below 1", max(stalls), 1.0, ""
    stalls = [swap.paced.during["longest"] / swap.paced.steady["p99"] for swap in figures.swaps]
    yield (
        "longest answer during switches to the p99 without them, half the rate, below 1",
        max(stalls),
        1.0,
        "",
    )
    yield "failed answers during switches, 0", float(sum(swap.failed for swap in figures.swaps)), 0.0, ""


def _is_plain(cell: Cell) -> bool:
    """Whether it is the agent's binary answer to one client, by a model that takes less than a millisecond."""
    return cell.server == OURS and cell.binary and cell.clients == 1 and cell.bare_p50 < 1000


def _goal_row(goal: str, worst: float, limit: float, unit: str) -> tuple[str, str, str]:
    return goal, f"{worst:.3g}{unit}", "yes" if worst <= limit else "no"


def _plots(plots: Sequence[Path]) -> Iterable[str]:
    for plot in plots:
        yield f"![{plot.stem.replace('-', ' ')}]({plot.as_posix()})"
        yield ""


def _answers(comparison: Comparison) -> Iterable[str]:
    yield "## Answers"
    yield ""
    yield "Times in microseconds as the client sees them. The ratio is the agent's p50 to the server's (below 1: the"
    yield "agent is faster). A bare call is the session's run alone, and a bare exchange the same bytes to and from a"
    yield "server that does nothing else, both in the same rounds."
    yield ""
    rows = []
    for cell in comparison.cells:
        ours = _find(comparison, cell.model, OURS, cell.clients, binary=cell.binary)
        ratio = "" if cell.server == OURS or ours is None else f"{ours.p50 / cell.p50:.2f}"
        rows.append(
            (
                cell.model,
                "binary" if cell.binary else "JSON",
                f"{cell.clients}",
                cell.server,
                f"{cell.p50:,.0f}",
                f"{cell.p99:,.0f}",
                f"{cell.per_second:,.0f}",
                f"{cell.bare_p50:,.0f}",
                "" if cell.exchange_p50 is None else f"{cell.exchange_p50:,.0f}",
                ratio,
            )
        )
    head = (
        "model",
        "format",
        "clients",
        "server",
        "p50",
        "p99",
        "answers/s",
        "bare call",
        "bare exchange",
        "ratio",
    )
    yield from _table(head, rows)


def _memory(figures: Figures) -> Iterable[str]:
    yield "## Memory"
    yield ""
    yield f"Resident MiB {REST_SECONDS:g} s after the requests above, of up to {max(CLIENTS)} clients at once."
    yield ""
    sizes = figures.comparison.sizes
    ours = {size.model: size.resident_bytes for size in sizes if size.server == OURS}
    yield from _table(
        ("model", "server", "resident MiB", "the agent's to it"),
        [
            (
                size.model,
                size.server,
                f"{size.resident_bytes / MIB:.1f}",
                f"{ours[size.model] / size.resident_bytes:.2f}",
            )
            for size in sizes
        ],
    )
    yield "The agent with more models (copies of the autoencoder), each asked once, at rest:"
    yield ""
    yield from _table(
        ("models", "resident MiB"),
        [(f"{item.models}", f"{item.resident_bytes / MIB:.1f}") for item in figures.several],
    )


def _starts(lives: Sequence[Life]) -> Iterable[str]:
    yield "## Start and rest"
    yield ""
    yield f"With the autoencoder: from the start of the process to the first answer (median of {STARTS}), then CPU over"
    yield f"{IDLE_SECONDS:.0f} s without a request, and what stays resident."
    yield ""
    yield from _table(
        ("server", "first answer, s", "idle, percent of one core", "resident MiB at rest"),
        [
            (
                life.server,
                f"{life.cold_seconds:.2f}",
                f"{life.idle_percent:.2f}",
                f"{life.idle_bytes / MIB:.1f}",
            )
            for life in lives
        ],
    )


def _swaps(swaps: Sequence[Swap]) -> Iterable[str]:
    yield "## Switches of revisions"
    yield ""
    yield f"{SWAP_CLIENTS} clients ask without a pause while revisions take turns on one core. First answer: from the"
    yield "verified file (loading, warming, switching) to the first answer that names the revision. Milliseconds."
    yield ""
    yield from _table(
        (
            "model",
            "switches",
            "answers",
            "failed",
            "first answer, median",
            "longest",
            "p99 without switches",
            "longest answer without",
            "p99 with switches",
            "longest answer with",
        ),
        [
            (
                swap.model,
                f"{swap.switches}",
                f"{swap.answers}",
                f"{swap.failed}",
                *(
                    f"{value / 1000:.2f}"
                    for value in (
                        swap.first_answer_p50,
                        swap.first_answer_longest,
                        swap.steady["p99"],
                        swap.steady["longest"],
                        swap.during["p99"],
                        swap.during["longest"],
                    )
                ),
            )
            for swap in swaps
        ],
    )


def _paced(swaps: Sequence[Swap]) -> Iterable[str]:
    yield "The same switches while the clients ask at fixed times, together half as often as the node could answer."
    yield "Clients without a pause fill the queue of the one core, so that their waits tell of the queue; here they"
    yield "tell of the switch. A wait counts from when the request was due. A window is as long as the median switch,"
    yield "from the verified file on; its longest answer is held against that of equally long windows without a switch,"
    yield "since the longest of many answers is above the p99 of the same answers wherever they are from. Milliseconds."
    yield ""
    yield from _table(
        (
            "model",
            "window",
            "p99 without switches",
            "longest answer without",
            "p99 with switches",
            "longest answer with",
            "longest in a window without, median",
            "longest in a switch, median",
        ),
        [
            (
                swap.model,
                *(
                    f"{value / 1000:.2f}"
                    for value in (
                        swap.paced.window,
                        swap.paced.steady["p99"],
                        swap.paced.steady["longest"],
                        swap.paced.during["p99"],
                        swap.paced.during["longest"],
                        statistics.median(swap.paced.longest_steady),
                        statistics.median(swap.paced.longest_during),
                    )
                ),
            )
            for swap in swaps
        ],
    )


def _pairs(comparison: Comparison, other: str, *, binary: bool) -> Iterable[tuple[Cell, Cell]]:
    """The agent's cells with the other server's, or with its JSON one where it has no binary."""
    for ours in comparison.cells:
        if ours.server != OURS or ours.binary != binary:
            continue
        their = _find(comparison, ours.model, other, ours.clients, binary=binary) or _find(
            comparison, ours.model, other, ours.clients, binary=False
        )
        if their is not None:
            yield ours, their


def _find(comparison: Comparison, model: str, server: str, clients: int, *, binary: bool) -> Cell | None:
    wanted = (model, server, clients, binary)
    return next(
        (c for c in comparison.cells if (c.model, c.server, c.clients, c.binary) == wanted),
        None,
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""
