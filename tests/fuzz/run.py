"""`make fuzz`: fuzzes every target for its share of the time, and writes what came of it into the guide."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "fuzzing.md"
WORK = ROOT / ".fuzz"
BEGIN, END = "<!-- measured by make fuzz: begin -->\n", "<!-- measured by make fuzz: end -->\n"

_LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-use_value_profile=1")
_RUNS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"^#\d+\s+\S+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What came of one target."""

    target: Target
    minutes: float
    runs: int
    covered: int
    features: int
    crashes: tuple[Path, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when something was found; the inputs are in the folder that is printed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=14.0, help="for all targets together")
    parser.add_argument("--write", action="store_true", help="write the table of docs/guides/fuzzing.md")
    parser.add_argument("names", nargs="*", help="targets, by default all")
    options = parser.parse_args(arguments)
    chosen = [target for target in TARGETS if target.name in options.names or not options.names]
    if not chosen:
        parser.error(f"no such target; there are {', '.join(target.name for target in TARGETS)}")
    found = []
    for target in chosen:
        found.append(fuzz(target, options.minutes / len(chosen)))
        sys.stdout.write(_line(found[-1]) + "\n")
    if options.write and len(chosen) == len(TARGETS):
        _write(found)
    crashes = [crash for result in found for crash in result.crashes]
    for crash in crashes:
        sys.stdout.write(
            f"found: {crash}: put it into tests/fuzz/corpus as regression-… and mend the reader\n"
        )
    return 1 if crashes else 0


def fuzz(target: Target, minutes: float) -> Found:
    """Fuzzes one target, in a process of its own."""
    grown, crashed = WORK / target.name / "grown", WORK / target.name / "crashes"
    for folder in (grown, crashed):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashed.iterdir())
    command = [sys.executable, "-m", "tests.fuzz.worker", target.name, *_LIMITS]
    command += [f"-max_total_time={max(1, round(minutes * 60))}", f"-max_len={target.limit}"]
    command += [f"-artifact_prefix={crashed}/", str(grown), str(target.corpus)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'hack'}:{ROOT}"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
        )
        log.seek(0)
        text = log.read()
    crashes = tuple(sorted(set(crashed.iterdir()) - before))
    if process.returncode != 0 and not crashes:
        raise SystemExit(f"{target.name}: the fuzzer ended with {process.returncode}:\n{text[-3000:]}")
    if crashes:
        sys.stdout.write(text[-3000:] + "\n")
    runs, covered = _RUNS.findall(text), _COVERED.findall(text)
    edges, features = covered[-1] if covered else ("0", "0")
    return Found(target, minutes, int(runs[-1]) if runs else 0, int(edges), int(features), crashes)


def _line(found: Found) -> str:
    told = f"{found.target.name}: {found.minutes:.1f} min, {found.runs} executions, coverage {found.covered}"
    return f"{told} (features {found.features}), {len(found.crashes)} found"


def _write(found: Sequence[Found]) -> None:
    """Replaces the measured part of the guide."""
    rows = [
        "| Target | What | Minutes | Executions | Coverage | Seeds | Once found | Found now |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in found:
        names = [path.name for path in result.target.corpus.iterdir()]
        kept = sum(name.startswith("regression-") for name in names)
        rows.append(
            f"| `{result.target.name}` | {result.target.what} | {result.minutes:.1f} | {result.runs:,} "
            f"| {result.covered} | {len(names) - kept} | {kept} | {len(result.crashes)} |"
        )
    total = sum(result.runs for result in found)
    minutes = sum(result.minutes for result in found)
    rows.append(f"| all | | {minutes:.0f} | {total:,} | | | | {sum(len(r.crashes) for r in found)} |")
    head, _, rest = GUIDE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    GUIDE.write_text(head + BEGIN + "\n" + "\n".join(rows) + "\n\n" + END + tail)


if __name__ == "__main__":
    sys.exit(main())
