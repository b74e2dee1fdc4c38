"""placeholder"""

import yaml

from edgecanary.api.fields import JsonObject
from edgelab.paths import ROOT


def flux_expressions() -> JsonObject:
    documents = yaml.safe_load_all((ROOT / "examples/flux/clusters/hamburg/models.yaml").read_text())
    found: JsonObject = next(iter(documents))["spec"]["healthCheckExprs"][0]
    return found
