"""`python -m dashboards.pictures`: the pictures of docs/guides/monitoring.md, from a real fleet, in a few minutes.

A fleet of four agents gets a good version, a bad one, and one that waits for an approval while a node is offline. Then
the dashboards' JSON is drawn with the answers of its Prometheus, in Chromium; the alerts are Prometheus's own page.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from dashboards import FOLDER
from dashboards.answers import Answers
from dashboards.page import WIDTH, page
from dashboards.variables import LABEL_VALUES, fill
from edgelab import tools
from edgelab.api import JsonObject
from edgelab.errors import LabError
from edgelab.fleet import wait_for
from edgelab.paths import ROOT
from edgelab.processes import Supervisor
from edgelab.tools.browser import install_prometheus_pages
from edgelab.tools.progress import say
from edgelab.watching.stage import Stage, stage_on

IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 200_000
_BROWSER_SECONDS = 900
_LOADING_MILLISECONDS = 15_000
_RATE = {"__rate_interval": "20s"}
_ROLLED_BACK = 'ALERTS{alertname="EdgecanaryRolloutRolledBack", alertstate="firing"}'
_STEPS: Sequence[JsonObject] = (
    {"name": "first", "nodes": 1, "bakeSeconds": 15},
    {"name": "half", "percent": 50, "bakeSeconds": 15},
    {"name": "all", "percent": 100, "bakeSeconds": 5},
)


def main() -> int:
    """Make all pictures; the exit code."""
    browser = tools.chromium()
    folder = Path(tempfile.mkdtemp(prefix="edgelab-pictures-"))
    try:
        with (
            Supervisor(folder / "logs") as supervisor,
            stage_on(supervisor, folder / "fleet", vnni=2, generic=2) as stage,
        ):
            begin = time.time()
            _play(stage, browser)
            answers = Answers(stage.fleet.prometheus.url, begin, time.time())
            for path in sorted((ROOT / FOLDER).glob("*.json")):
                _draw(json.loads(path.read_text()), answers, browser, folder / path.stem)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _play(stage: Stage, browser: Path) -> None:
    subject, prometheus = stage.subject, stage.fleet.prometheus
    say("a first version, and a better one")
    stage.begin("fp32", *_STEPS)
    subject.promoted(stage.publish("int8"), seconds=300)
    say("a careless one, which is taken back")
    subject.rolled_back(stage.publish("int8-careless"), seconds=300)
    wait_for("the alert fires", lambda: prometheus.query(_ROLLED_BACK))
    _shoot(browser, _alerts_page(prometheus.url), IMAGES / "monitoring-alerts.png", height=1020)
    say("a third one, which waits for an approval while a node is offline")
    stage.fleet.take_offline(min(stage.fleet.agents))
    first, half, last = _STEPS
    stage.roll_out(first, {**half, "approval": "Manual"}, last)
    stage.publish("lookup")
    subject.wait("it waits", lambda: subject.reason() == "AwaitingApproval", seconds=300)
    time.sleep(30)


def _alerts_page(url: str) -> str:
    """Prometheus's own page of alerts. Debian's program has another one, in files of the package."""
    for page_url in (f"{url}/alerts", f"{url}/classic/alerts"):
        if _is_served(page_url):
            return page_url
    install_prometheus_pages()
    return f"{url}/classic/alerts"


def _is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - the lab's Prometheus
            return bool(reply.status == 200)
    except urllib.error.HTTPError:
        return False


def _draw(dashboard: JsonObject, answers: Answers, browser: Path, folder: Path) -> None:
    """One dashboard, with the last value of each variable: the last node is the one that pushes."""
    values: dict[str, str] = dict(_RATE)
    shown: dict[str, str] = {}
    for variable in dashboard["templating"]["list"][1:]:
        match = LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert match is not None
        found = answers.values(fill(match[1], values), match[2])
        values[variable["name"]] = found[-1]
        if not variable.get("hide"):
            shown[variable["label"]] = found[-1]
    text, height = page(dashboard, answers, values, shown)
    folder.mkdir(exist_ok=True)
    file = folder / "page.html"
    file.write_text(text)
    name = str(dashboard["uid"]).removeprefix("edgecanary-")
    _shoot(browser, file.as_uri(), IMAGES / f"monitoring-{name}.png", height=height)


def _shoot(browser: Path, url: str, target: Path, *, height: int) -> None:
    """A picture of a page. Raises LabError when there is none, or a large one."""
    with tempfile.TemporaryDirectory() as profile:
        command: list[str | Path] = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH},{height}",
            f"--virtual-time-budget={_LOADING_MILLISECONDS}",
            f"--screenshot={target}",
            url,
        ]
        target.unlink(missing_ok=True)
        shot = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BROWSER_SECONDS)
    if not target.is_file():
        raise LabError(f"Chromium made no picture of {url}:\n{shot.stderr[-2000:]}")
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise LabError(f"{target}: {size} bytes, must be at most {MOST_BYTES}")
    say(f"{target.relative_to(ROOT)}: {size} bytes")


if __name__ == "__main__":
    sys.exit(main())
