"""How long the agent's credentials live, as metrics."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgecanary.clients.validity import Credential, Validity


class CredentialSeries(Collector):
    """Asks for the credentials at each collection."""

    def __init__(self, validities: Callable[[], Mapping[Credential, Validity]]) -> None:
        self._validities = validities

    def collect(self) -> Iterator[Metric]:
        """When each was issued and when it ends; what does not say is left out."""
        issued = GaugeMetricFamily(
            "edgecanary_agent_credential_issued_timestamp_seconds",
            "When the credential for the API server was issued.",
            labels=("kind",),
        )
        expiry = GaugeMetricFamily(
            "edgecanary_agent_credential_expiry_timestamp_seconds",
            "When the credential for the API server ends.",
            labels=("kind",),
        )
        for kind, validity in self._validities().items():
            issued.add_metric((kind,), validity.begins)
            expiry.add_metric((kind,), validity.ends)
        yield from (issued, expiry)
