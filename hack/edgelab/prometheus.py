"""A real Prometheus on the loopback interface."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgelab import tools
from edgelab.api import JsonObject
from edgelab.errors import LabError
from edgelab.place import HERE, Place
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor

_READY_SECONDS = 60.0
_QUERY_SECONDS = 10.0


@dataclass(frozen=True)
class Target:
    """Something to scrape.

    Attributes:
        address: `host:port`; the path is /metrics.
        labels: added to each series; where a series has the label itself, its own value stays.
    """

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One element of an instant query's answer."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Prometheus with targets that can be changed, which can be stopped, frozen and started again.

    Args:
        supervisor: runs the process.
        data_dir: folder for the configuration and the samples; made when needed.
        scrape_seconds: the interval between scrapes.
        out_of_order_seconds: how old a sample pushed by remote write may be.
        place: where it runs. In another network it is reached here too when its port is forwarded.
        rules: files with rules to evaluate.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        data_dir: Path,
        *,
        scrape_seconds: int = 1,
        out_of_order_seconds: int = 7200,
        place: Place = HERE,
        rules: Sequence[Path] = (),
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.port = free_port()
        self._supervisor = supervisor
        self._place = place
        self._process: Process | None = None
        self._targets = data_dir / "targets.json"
        self._config = data_dir / "prometheus.yml"
        config = _config(self._targets, scrape_seconds, out_of_order_seconds)
        self._config.write_text(json.dumps({**config, "rule_files": [str(path) for path in rules]}))
        self.set_targets(())

    @property
    def url(self) -> str:
        """Its address, for clients in its own network."""
        return f"http://{self._place.address}:{self.port}"

    @property
    def remote_write_url(self) -> str:
        """Where samples can be pushed to."""
        return f"{self.url}/api/v1/write"

    @property
    def process(self) -> Process:
        """The process: `pause()` makes it hang, `resume()` goes on.

        Raises:
            LabError: it has not been started.
        """
        if self._process is None:
            raise LabError("Prometheus has not been started")
        return self._process

    def start(self) -> None:
        """Start it on the data it had, or wake it when it is frozen, and wait until it is ready.

        Raises:
            MissingToolError: Prometheus is not to be had.
            ProcessError: it died or was not ready in time.
        """
        if self._process is None or not self._process.running:
            self._process = self._supervisor.start("prometheus", self._command())
        self._process.resume()
        self._process.wait_ready(self._is_ready, timeout=_READY_SECONDS)

    def stop(self) -> None:
        """Stop it; `start` goes on with its data at the same address."""
        if self._process is not None:
            self._process.stop()

    def set_targets(self, targets: Sequence[Target]) -> None:
        """Say what to scrape from now on; a running Prometheus takes it up within 6 s."""
        groups = [{"targets": [target.address], "labels": dict(target.labels)} for target in targets]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(self._targets)

    def query(self, expression: str, *, timeout: float = _QUERY_SECONDS) -> list[Sample]:
        """Evaluate PromQL now; the elements of the answer, a scalar as one without labels.

        Raises:
            LabError: Prometheus refused the expression, with its words.
            OSError: it does not answer.
        """
        question = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/query?{question}", timeout=timeout
            ) as reply:
                data = json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise LabError(f"query {expression!r}: {error.read().decode()}") from error
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(item["metric"], float(item["value"][1])) for item in data["result"]]

    def value(self, expression: str) -> float | None:
        """The only value of a PromQL expression, None when there is no data; errors as in `query`.

        Raises:
            LabError: the answer has more than one element.
        """
        samples = self.query(expression)
        if len(samples) > 1:
            raise LabError(f"query {expression!r} must give one value, gave {len(samples)}")
        return samples[0].value if samples else None

    def scrapes(self, addresses: Iterable[str]) -> bool:
        """Whether the last scrape of every one of these addresses succeeded."""
        healthy = {sample.labels["instance"] for sample in self.query("up == 1")}
        return healthy.issuperset(addresses)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _command(self) -> list[str | Path]:
        return [
            *self._place.enter,
            tools.prometheus(),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.data_dir / 'tsdb'}",
            f"--web.listen-address={self._place.listen}:{self.port}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]


def _config(targets: Path, scrape_seconds: int, out_of_order_seconds: int) -> JsonObject:
    """The configuration, as JSON (which is YAML too)."""
    interval = f"{scrape_seconds}s"
    job = {
        "job_name": "edgecanary-agents",
        "honor_labels": True,
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
    }
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "5s"},
        "storage": {"tsdb": {"out_of_order_time_window": f"{out_of_order_seconds}s"}},
        "scrape_configs": [job],
    }
