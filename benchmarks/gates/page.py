"""The results as docs/benchmarks-gates.md and its plots."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.gates import plots, tables
from benchmarks.gates.cells import HORIZONS, Cell
from benchmarks.gates.harness import Results

IMAGES = "images"
BOUND = 5.0


def write(docs: Path, cells: Sequence[Cell], results: Mapping[str, Results]) -> None:
    """Write the page and the images into the folder of the documentation."""
    everything = tables.Book(cells, results)
    images = docs / IMAGES
    images.mkdir(exist_ok=True)
    plots.false_rollbacks(everything, images / "gates-false-rollbacks.svg")
    plots.found_over_time(everything, images / "gates-found.svg")
    plots.onsets(everything, images / "gates-onsets.svg")
    (docs / "benchmarks-gates.md").write_text("\n".join(_page(everything)))


def _page(book: tables.Book) -> Iterable[str]:
    yield from _head(book)
    yield from _goals(book)
    yield from _rollbacks(book)
    yield from _peers(book)
    yield from _found(book)
    yield from _onsets(book)
    yield from _exposure(book)
    yield from _stress(book)
    yield from _study(book)
    yield from _method()


def _head(book: tables.Book) -> Iterable[str]:
    yield "# How good are the gates?"
    yield ""
    yield "Written by `make bench-gates`. Each gate judges the same seeded traces of fleets, run by the code of the"
    yield f"product; {book.runs:,} runs a cell. Brackets hold 95 % intervals (Wilson). *False rollback*: a revision as"
    yield "good as the stable one is taken back. A cell is named by nodes x canaries, rate of bad events, requests a"
    yield "tick of a node, and noise: `100x5 0.5%/20 hard`."
    yield ""


def _goals(book: tables.Book) -> Iterable[str]:
    yield "## Goals"
    yield ""
    yield from table(("goal", "measured", ""), tables.goals(book))
    yield "*No gate can find more*: that is what a single look at the 60th tick finds, with all 5 % of false rollbacks"
    yield "spent there, by the likelihood-ratio test that knows the increase and how rates differ, drift and burst."
    yield "Late and slow: all ratios and cells of the grid; see below for how delays are counted. What was tried is in"
    yield "[the statistics' guide](guides/gate-statistics.md)."
    yield ""


def _rollbacks(book: tables.Book) -> Iterable[str]:
    yield "## False rollbacks"
    yield ""
    yield f"Percent in the worst cell of the grid, after {HORIZONS[0]} / {HORIZONS[1]} / {HORIZONS[2]} looks."
    yield ""
    yield "![False rollbacks by method and fleet](images/gates-false-rollbacks.svg)"
    yield ""
    yield from table(("method", *book.fleets), tables.worst_rollbacks(book))


def _peers(book: tables.Book) -> Iterable[str]:
    yield "## Beside the others"
    yield ""
    yield "Twice as many bad events from the start on, in the hard cell with 0.5 % bad of 20 requests, 240 looks."
    yield "Delay: median over the runs that found it, and the requests that the canaries answered meanwhile. Exposed:"
    yield "nodes that get the bad revision, in the mean: all of them where it is missed."
    yield ""
    yield "![Found after so many looks](images/gates-found.svg)"
    yield ""
    head = "fleet|method|false rollback %|missed %|delay in looks|in requests|nodes exposed"
    yield from table(head.split("|"), tables.beside_peers(book))


def _found(book: tables.Book) -> Iterable[str]:
    yield from _begin(
        "What the default finds",
        "`NegativeBinomial` as the product uses it. Under each ratio: percent found within 10 / 60 / 240 looks @",
        "median delay in looks of those found.",
    )
    head = ("cell", "false rollback %", "1.25x", "1.5x", "2x", "3x", "10x")
    yield from table(head, tables.found_from_start(book))
    yield "The same when only the canaries of one hardware class are worse, a third of them:"
    yield ""
    yield from table(("cell", "1.25x", "1.5x", "2x", "3x", "10x"), tables.found_in_class(book))


def _onsets(book: tables.Book) -> Iterable[str]:
    yield from _begin(
        "Late and slow regressions",
        "Median delay over all runs, in looks at full strength (a look while half of the increase is there counts",
        "half), for a regression from the start on, for one that comes after 120 looks, and for one that grows over",
        "120 looks. In brackets as a multiple of the first. `-`: most runs do not find it within 120 looks (slow:",
        "240).",
    )
    yield "![Delay by onset](images/gates-onsets.svg)"
    yield ""
    head = ("cell", "ratio", "start", "late", "slow", "as in the study: start", "late", "slow")
    yield from table(head, tables.onsets(book))


def _exposure(book: tables.Book) -> Iterable[str]:
    yield from _begin(
        "Promotion after the minimum exposure",
        "A step is promoted when the exposure is enough for the ratio that must be found. Percent of revisions that",
        "are worse by just that ratio and are promoted, of those that came to either end within 240 looks; beside it,",
        "how many came to neither and wait.",
    )
    head = ("cell", "1.5x promoted", "waiting", "2x promoted", "waiting", "3x promoted", "waiting")
    yield from table(head, tables.promotions(book))


def _stress(book: tables.Book) -> Iterable[str]:
    yield from _begin(
        "Worse conditions than the grid's",
        "False rollbacks in percent over 240 looks, medium noise; the worse of 5 % bad of 500 requests and 1 % of",
        "100: the product's default / its plain form / Randomization. The warm-up comes after the time that the",
        "product leaves out.",
    )
    yield from table(("condition", *book.fleets[:3]), tables.stress(book))


def _study(book: tables.Book) -> Iterable[str]:
    yield "## The study, reproduced"
    yield ""
    yield "The statistic comes from a study with a simulation of its own. Its plain form, judged on our traces, against"
    yield "its figures: percent found (false rollback: ratio 1) @ median delay in looks, the study's first. Marked are"
    yield "those further apart than chance explains (1 %, two-sided)."
    yield ""
    compared, marked = tables.agreement(book)
    yield f"{marked} of {compared} figures are marked."
    yield ""
    yield from table(("cell", "looks", "1x", "1.5x", "2x", "3x"), tables.against_study(book))
    yield "Worst cell of the grid, false rollback in percent at 10 / 60 / 240 looks, and a 2x regression that comes at"
    yield "tick 60, found by tick 240:"
    yield ""
    head = ("fleet", "false rollback, study", "ours", "late, study", "ours, plain", "ours, product")
    yield from table(head, tables.study_summary(book))


def _method() -> Iterable[str]:
    yield "## How it is measured"
    yield ""
    yield from (
        "- A tick is a look; 96 ticks are a day. History: 288 ticks. Nodes differ in rate (gamma; coefficient of",
        "  variation 0 clean, 0.5 medium, 1 hard) and in requests (lognormal, sigma 0.7). All nodes share a diurnal",
        "  swing (rate 30 %, requests 40 %); 5 % are offline, 20 ticks at a time. Medium and hard: each node's rate",
        "  drifts (AR(1) with phi 0.9, sd 0.2) and bursts (gamma, squared coefficient of variation 0.5, each tick).",
        "- A regression turns good events of the canaries bad; all ratios and all methods have the same traces.",
        "- With 1,000 nodes only 20 requests a tick, since with 500 all is found at the first look, and no medium",
        "  noise.",
        "- Fixed thresholds: the canaries' rate in a tick above 2 %, or above twice the fleet's usual rate, more than",
        "  twice. z-test: all events since the switch, one-sided at 5 %. Mann-Whitney: rates of all ticks, 98 %, all",
        "  stable nodes. Kayenta's rules: the same test with its tolerance band (a quarter of the Hodges-Lehmann",
        "  estimate), as many stable nodes as canaries, judged three times in a life of 10, 60 or 240 ticks.",
        "- Randomization looks at 1, 2, 3, 4, 6, 8, 12 … ticks as in the product, and where it can be used at all.",
        "- Runs with a false alarm before a late regression begins are left out of its figures.",
        "- A regression from the start on is looked at after each of 60 ticks and then after every fourth. Late, slow",
        "  and one-class ones after each of 16 ticks from their begin on, and then at the latest after a tenth of the",
        "  time since. That can only make their delays longer.",
    )
    yield ""


def _begin(title: str, *text: str) -> Iterable[str]:
    """A section's heading and its paragraph."""
    yield from (f"## {title}", "", *text, "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Lines of a table and an empty one."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""
