"""The chart, and the real helm that renders and installs it."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from edgelab import tools
from edgelab.api import JsonObject
from edgelab.errors import LabError
from edgelab.paths import ROOT

CHART = ROOT / "charts" / "edgecanary"
RELEASE = "edgecanary"
NAMESPACE = "edgecanary-system"


class HelmError(LabError):
    """helm answered with a non-zero exit code; the message holds its words."""

    def __init__(self, arguments: Sequence[str], exit_code: int, stderr: str) -> None:
        super().__init__(f"helm {' '.join(arguments)}: exit code {exit_code}: {stderr.strip()}")
        self.exit_code = exit_code
        self.stderr = stderr


@dataclass(frozen=True)
class Helm:
    """helm with settings and caches of its own, for one cluster or for none.

    Attributes:
        home: folder for its caches; made when needed.
        kubeconfig: of the cluster; None for what needs none.
        namespace: of the release.
    """

    home: Path
    kubeconfig: Path | None = None
    namespace: str = NAMESPACE

    def run(self, *arguments: str, values: Mapping[str, object] | None = None) -> str:
        """Run helm with values; its standard output.

        Raises:
            HelmError: its exit code was not 0.
        """
        with self._values(values) as files:
            command: list[str | Path] = [tools.helm(), *arguments, *files]
            result = subprocess.run(
                command, env=self._environment(), capture_output=True, text=True, check=False, input=""
            )
        if result.returncode != 0:
            raise HelmError(arguments, result.returncode, result.stderr)
        return str(result.stdout)

    def template(
        self, chart: Path = CHART, *, values: Mapping[str, object] | None = None, flags: Sequence[str] = ()
    ) -> str:
        """What the chart renders to, as a new release; errors as in `run`."""
        return self.run(
            "template", RELEASE, str(chart), f"--namespace={self.namespace}", *flags, values=values
        )

    def lint(self, *, values: Mapping[str, object] | None = None) -> str:
        """What `helm lint --strict` says; errors as in `run`."""
        return self.run("lint", "--strict", str(CHART), values=values)

    def install(
        self, chart: Path = CHART, *, values: Mapping[str, object] | None = None, flags: Sequence[str] = ()
    ) -> str:
        """Install the chart in a namespace that is made when needed; its notes. Errors as in `run`."""
        place = (f"--namespace={self.namespace}", "--create-namespace")
        return self.run("install", RELEASE, str(chart), *place, *flags, values=values)

    def upgrade(
        self, chart: Path = CHART, *, values: Mapping[str, object] | None = None, flags: Sequence[str] = ()
    ) -> str:
        """Upgrade the release to a chart and values; its notes. Errors as in `run`."""
        return self.run(
            "upgrade", RELEASE, str(chart), f"--namespace={self.namespace}", *flags, values=values
        )

    def uninstall(self) -> str:
        """Uninstall the release; what helm says of it. Errors as in `run`."""
        return self.run("uninstall", RELEASE, f"--namespace={self.namespace}")

    @contextmanager
    def _values(self, values: Mapping[str, object] | None) -> Iterator[list[str]]:
        if values is None:
            yield []
            return
        with TemporaryDirectory(prefix="edgelab-values-") as folder:
            file = Path(folder) / "values.json"
            file.write_text(json.dumps(values))
            yield [f"--values={file}"]

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's own helm is read or changed."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        folders = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        own = {"KUBECONFIG": str(self.kubeconfig or self.home / "no-cluster")}
        return {**base, **folders, **own}


def documents(text: str) -> list[JsonObject]:
    """The manifests in a YAML text."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]
