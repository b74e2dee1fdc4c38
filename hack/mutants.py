#!/usr/bin/env python3
"""Break the planner and the gates line by line and see whether their unit tests notice: `make mutants`.

mutmut makes the changes and runs the tests. It expects the sources under `src`, so it works on a copy, and
a second run goes on where the first one stopped. All changes take hours; `--sample 600 --seed 1` takes so many
of them, from every file in proportion and always the same ones while the code is the same, and `--survivors` those
that no test noticed the last time. The result is a table on the terminal, and the surviving changes in
`.cache/mutants/survivors.txt`; what was thought of them is in docs/mutation-testing.md.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "mutants"
TARGETS = ("rollout", "analysis")
REPORT_EVERY_SECONDS = 30.0
COPIED = ("tests", "hack", "crds", "docs")

Result = tuple[str, str, str]
"""Module, status and mutant of one change."""

SETTINGS = """
[tool.pytest.ini_options]
pythonpath = ["src", "hack", "."]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
asyncio_mode = "auto"

[tool.mutmut]
source_paths = ["src"]
only_mutate = [{patterns}]
also_copy = [{copied}]
pytest_add_cli_args = ["-q", "-x", "--no-header", "-p", "no:randomly"]
pytest_add_cli_args_test_selection = [{tests}]
track_dependencies = false
use_git_change_detection = false
"""

NO_MUTANT = "none"
"""Matches no change: mutmut stops once it has made all changes and knows which tests reach them."""

RESULT = re.compile(r"^\s*(?:src\.)?edgecanary\.(?P<module>[\w.]+?)\.x\S*__mutmut_\d+: (?P<status>[\w ]+)$")


def main() -> int:
    """Runs mutmut on the copy; the exit code is mutmut's."""
    parser = argparse.ArgumentParser(prog="hack/mutants.py", description=__doc__)
    parser.add_argument(
        "files", nargs="*", help="such as rollout/cohort.py; default: all of rollout/ and analysis/"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--sample", type=int, metavar="N", help="so many changes, from every file in proportion"
    )
    part.add_argument("--survivors", action="store_true", help="only what no test noticed the last time")
    parser.add_argument("--seed", type=int, default=1, help="which changes the sample has")
    options = parser.parse_args()
    _stage(options.files or [f"{target}/*" for target in TARGETS], fresh=options.fresh)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(options.workers)]
    chosen: list[str] = []
    if options.survivors:
        chosen = [mutant for _, status, mutant in _results() if status == "survived"]
    elif options.sample:
        _run([*command, NO_MUTANT])
        chosen = sample(_results(), options.sample, options.seed)
    if (options.survivors or options.sample) and not chosen:
        print("there is nothing to change", file=sys.stderr)
        return 1
    code = _run([*command, *chosen])
    if code == 0:
        _report()
    return code


def sample(results: Sequence[Result], number: int, seed: int) -> list[str]:
    """So many changes, evenly over the files: each gives its share, rounded up or down."""
    chance = random.Random(seed)  # noqa: S311
    modules: dict[str, list[str]] = {}
    for module, _, mutant in sorted(results, key=lambda result: result[2]):
        modules.setdefault(module, []).append(mutant)
    ordered = [mutant for _, of_module in sorted(modules.items()) for mutant in _shuffled(of_module, chance)]
    step = max(1.0, len(ordered) / number)
    first = chance.random() * step
    places = (int(first + step * place) for place in range(number))
    return [ordered[place] for place in places if place < len(ordered)]


def _shuffled(mutants: Sequence[str], chance: random.Random) -> list[str]:
    return chance.sample(mutants, len(mutants))


def _run(command: list[str]) -> int:
    """Runs mutmut, whose spinner writes hundreds of lines a minute, and shows where it is now and then."""
    shown = 0.0
    with subprocess.Popen(
        command, cwd=WORK, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        line = b""
        while part := os.read(process.stdout.fileno(), 65536):
            *_, line = (line + part).replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
            if time.monotonic() - shown > REPORT_EVERY_SECONDS:
                shown = time.monotonic()
                print(line.decode(errors="replace"), flush=True)
    print(line.decode(errors="replace"), flush=True)
    return process.returncode


def _stage(patterns: list[str], *, fresh: bool) -> None:
    if fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for source, target in (
        (ROOT / "operator", WORK / "src"),
        *((ROOT / name, WORK / name) for name in COPIED),
    ):
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    settings = SETTINGS.format(
        patterns=_quoted(f"src/edgecanary/{pattern}" for pattern in patterns),
        copied=_quoted(COPIED),
        tests=_quoted(f"tests/unit/{target}" for target in TARGETS),
    )
    (WORK / "pyproject.toml").write_text(settings)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "MUTANT_UNDER_TEST"}}


def _results() -> list[Result]:
    """What became of every change."""
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    said = subprocess.run(command, cwd=WORK, env=_environment(), capture_output=True, text=True, check=True)
    found = [(match, line.strip()) for line in said.stdout.splitlines() if (match := RESULT.match(line))]
    return [(match["module"], match["status"], line.partition(":")[0]) for match, line in found]


def _report() -> None:
    results = [result for result in _results() if result[1] != "not checked"]
    modules: dict[str, Counter[str]] = {}
    for module, status, _ in results:
        modules.setdefault(module, Counter())[status] += 1
    print(f"\n{'module':<36} {'killed':>7} {'survived':>9} {'other':>6}")
    for module, counts in sorted(modules.items()):
        _print_row(module, counts)
    _print_row("all", sum(modules.values(), Counter()))
    survivors = [mutant for _, status, mutant in results if status == "survived"]
    (WORK / "survivors.txt").write_text("\n".join(_show(mutant) for mutant in survivors))
    print(f"the surviving changes: {WORK / 'survivors.txt'}")


def _print_row(name: str, counts: "Counter[str]") -> None:
    caught = counts["killed"] + counts["timeout"]
    print(f"{name:<36} {caught:>7} {counts['survived']:>9} {counts.total() - caught - counts['survived']:>6}")


def _show(mutant: str) -> str:
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    return subprocess.run(
        command, cwd=WORK, env=_environment(), capture_output=True, text=True, check=False
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
