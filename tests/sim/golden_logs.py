"""What is kept of the simulator's stories and examples, and where."""

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path

from edgecanary.cli.main import main
from edgelab.paths import ROOT
from tests.sim.scenario import Scenario, log
from tests.sim.scenarios import SCENARIOS

FOLDER = Path("tests/sim/golden")
GUIDE = Path("docs/guides/simulator.md")
_MANIFEST = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(
    r"^```console\n\$ edgecanary (simulate -f rollout.yaml [^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL
)


def path_of(scenario: Scenario, *, shuffle: bool) -> Path:
    """The log's path from the checkout's root."""
    return FOLDER / f"{scenario.name}{'.shuffled' if shuffle else ''}.log"


def generated() -> dict[Path, str]:
    """Every log and the guide with what they must hold: each story in order and in a random order."""
    logs = {
        path_of(scenario, shuffle=shuffle): log(scenario, shuffle=shuffle)
        for scenario in SCENARIOS
        for shuffle in (False, True)
    }
    return {**logs, GUIDE: guide()}


def guide() -> str:
    """The guide with what its example prints now."""
    text = (ROOT / GUIDE).read_text()
    manifest = _MANIFEST.search(text)
    assert manifest is not None, "the guide shows a Rollout"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rollout.yaml")
        file.write_text(manifest[1])

        def run(match: re.Match[str]) -> str:
            arguments = [str(file) if word == "rollout.yaml" else word for word in shlex.split(match[1])]
            return f"```console\n$ edgecanary {match[1]}\n{printed(arguments)}```"

        found, count = _EXAMPLE.subn(run, text)
    assert count, "the guide shows an example"
    return found


def printed(arguments: list[str]) -> str:
    """What the program prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(arguments) == 0
    return output.getvalue()
