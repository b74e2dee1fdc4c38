"""What the chart gives to others: its copy of the definitions, config/install.yaml, the reference of its values."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecanary.api import GROUP
from edgelab.generate import crd, values_table
from edgelab.generate.kinds import KINDS
from edgelab.helm import CHART, Helm
from edgelab.paths import ROOT

CRD_FOLDER = Path("charts/edgecanary/files/crds")
INSTALL = Path("config/install.yaml")
TENANCY = Path("config/tenancy/policies.yaml")
VALUES = Path("docs/reference/values.md")

_FOR_KUBECTL: Mapping[str, object] = {
    "namespace": {"create": True},
    "crds": {"keep": False},
    "agent": {"keep": False},
}
"""kubectl makes no namespace by itself, and deletes what it is told to delete."""

_NOTICE = """\
# All of edgecanary in one file, for kubectl apply -k config/ or -f config/install.yaml.
# Rendered from charts/edgecanary by `make generate`. Change the chart, not this file.
"""
_TENANCY_NOTICE = """\
# Which namespaces may name which nodes and hosts, for kubectl apply -f: docs/guides/tenancy.md. The rules are yours, in
# the ConfigMap edgecanary-tenancy; without it nothing is taken.
# Rendered from charts/edgecanary by `make generate`. Change the chart, not this file.
"""
_POLICIES = tuple(
    f"--show-only=templates/tenancy/{name}.yaml" for name in ("rollouts", "edgemodels", "modelreleases")
)
_OF_HELM = re.compile(r"^ *(helm\.sh/.*|app\.kubernetes\.io/managed-by: Helm|# Source: .*)\n", re.MULTILINE)
_EMPTY = re.compile(r"^ *annotations:\n(?= *labels:)", re.MULTILINE)


def definitions() -> dict[Path, str]:
    """The chart's copies of crds/."""
    return {CRD_FOLDER / f"{GROUP}_{kind.plural}.yaml": crd.to_yaml(kind) for kind in KINDS}


def generated() -> dict[Path, str]:
    """What needs helm: the rendered manifests; and the reference of the values."""
    return {
        INSTALL: _NOTICE + _rendered(_FOR_KUBECTL, ("--skip-tests",)),
        TENANCY: _TENANCY_NOTICE + _rendered({"tenancy": {"enabled": True}}, _POLICIES),
        VALUES: values_table.page(CHART),
    }


def _rendered(values: Mapping[str, object], flags: Sequence[str]) -> str:
    """Manifests for kubectl, from the chart as it lies on disk and the definitions as the API types say."""
    with TemporaryDirectory(prefix="edgelab-chart-") as folder:
        chart = Path(folder) / CHART.name
        shutil.copytree(CHART, chart)
        for path, text in definitions().items():
            copy = chart / path.relative_to(CHART.relative_to(ROOT))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text)
        text = Helm(Path(folder) / "helm").template(chart, values=values, flags=flags)
    return _EMPTY.sub("", _OF_HELM.sub("", text))
