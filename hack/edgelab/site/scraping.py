"""How Prometheus finds the agents: the scrape configuration of docs/guides/operating.md, as it stands there."""

import re
from pathlib import Path

import yaml

from edgelab.api import JsonObject
from edgelab.errors import LabError
from edgelab.paths import ROOT
from edgelab.site.contract import AnyCluster

_GUIDE = ROOT / "docs" / "guides" / "operating.md"
_BLOCK = re.compile(r"```yaml\n(scrape_configs:.*?)```", re.DOTALL)


def agents_job(cluster: AnyCluster, folder: Path) -> JsonObject:
    """The guide's job with a short interval, and with the credentials that a Prometheus in a pod has anyway.

    Raises:
        LabError: the guide has no scrape configuration.
    """
    match = _BLOCK.search(_GUIDE.read_text())
    if match is None:
        raise LabError(f"{_GUIDE} has no block of YAML that begins with scrape_configs")
    job: JsonObject = yaml.safe_load(match[1])["scrape_configs"][0]
    credentials = cluster.admin.credentials
    for discovery in job["kubernetes_sd_configs"]:
        discovery["api_server"] = cluster.inside
        discovery["tls_config"] = {
            "ca_file": str(credentials.authority),
            "cert_file": str(credentials.certificate),
            "key_file": str(credentials.key),
        }
    folder.mkdir(parents=True, exist_ok=True)
    return {**job, "scrape_interval": "1s", "scrape_timeout": "1s"}
