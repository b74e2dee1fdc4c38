"""One node: its models, its agent, its way to Prometheus and to the API server."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.frame import frame, variable, with_rows
from dashboards.panels import GREEN, RED, YELLOW, Look, Query, lines, names, number, rows

_SELF = 'node="$node"'
_BY_VERSION = "sum by (namespace, model, version)"
_VERSION = "{{namespace}}/{{model}} {{version}}"


def build() -> Dashboard:
    """The dashboard."""
    about = "One node, from the metrics of its agent. They need the label node."
    dashboard = frame("node", "edgecanary / Node", about).with_variable(
        variable("node", "Node", "label_values(edgecanary_agent_info, node)")
    )
    return with_rows(dashboard, [("Now", _now()), ("Models", _models()), ("Agent", _agent())])


def _now() -> list[Builder[Panel]]:
    ends = f"max by (kind) (edgecanary_agent_credential_expiry_timestamp_seconds{{{_SELF}}})"
    issued = f"max by (kind) (edgecanary_agent_credential_issued_timestamp_seconds{{{_SELF}}})"
    life = f"min(({ends} - time()) / ({ends} - {issued}))"
    fill = (
        f"max(edgecanary_remote_write_waiting_bytes{{{_SELF}}})"
        f" / max(edgecanary_remote_write_max_bytes{{{_SELF}}})"
    )
    return [
        names("Agent", "Its version.", Query(f"edgecanary_agent_info{{{_SELF}}}", "{{version}}"), width=6),
        number(
            "Runs since",
            "Since the agent's process began.",
            Query(
                f"time() - max(process_start_time_seconds{{{_SELF}}} * on (node, instance) edgecanary_agent_info)"
            ),
            look=Look("s"),
            width=6,
        ),
        number(
            "Credentials",
            "Share of its life that the credential for the API server that ends first has left.",
            Query(life),
            look=Look("percentunit", ((None, RED), (0.1, YELLOW), (0.2, GREEN))),
            width=6,
        ),
        number(
            "Outbox",
            "How full what waits for Prometheus is; none where the node is scraped.",
            Query(fill),
            look=Look("percentunit", ((None, GREEN), (0.5, YELLOW), (0.8, RED))),
            width=6,
        ),
    ]


def _models() -> list[Builder[Panel]]:
    requests = f"{_BY_VERSION} (rate(edgecanary_requests_total{{{_SELF}}}[$__rate_interval]))"
    errors = f'{_BY_VERSION} (rate(edgecanary_requests_total{{{_SELF}, outcome="error"}}[$__rate_interval]))'
    buckets = (
        "sum by (namespace, model, version, le)"
        f" (rate(edgecanary_request_duration_seconds_bucket{{{_SELF}}}[$__rate_interval]))"
    )
    return [
        rows(
            "Models",
            "Which revision is active, and which is kept to go back to.",
            Query(f"max by (namespace, model, version, role) (edgecanary_model_state{{{_SELF}}}) == 1"),
            ["Value"],
            width=8,
        ),
        lines("Requests", "Per second.", Query(requests, _VERSION), look=Look("reqps")),
        lines(
            "Errors",
            "Share of the requests that the model failed.",
            Query(f"{errors} / {requests}", _VERSION),
            look=Look("percentunit"),
        ),
        lines(
            "Latency, p95",
            "From the whole request being read to the answer being ready.",
            Query(f"histogram_quantile(0.95, {buckets})", _VERSION),
            look=Look("s"),
        ),
        lines(
            "Memory of models",
            "Private memory that loading and warming each added.",
            Query(f"max by (namespace, model, version) (edgecanary_model_memory_bytes{{{_SELF}}})", _VERSION),
            look=Look("bytes"),
        ),
        lines(
            "Drift",
            "Distance from the model's profile, by feature.",
            Query(
                f"max by (namespace, model, version, feature) (edgecanary_drift_score{{{_SELF}}})",
                _VERSION + " {{feature}}",
            ),
        ),
    ]


def _agent() -> list[Builder[Panel]]:
    return [
        lines(
            "Memory",
            "Resident memory of the agent, its models included.",
            Query(
                f"max(process_resident_memory_bytes{{{_SELF}}} * on (node, instance) edgecanary_agent_info)",
                "agent",
            ),
            look=Look("bytes"),
        ),
        lines(
            "CPU",
            "Cores in use.",
            Query(
                f"max(rate(process_cpu_seconds_total{{{_SELF}}}[$__rate_interval])"
                " * on (node, instance) edgecanary_agent_info)",
                "agent",
            ),
        ),
        lines(
            "Refused requests",
            "Per second, by HTTP status: none reached a model.",
            Query(
                f"sum by (status) (rate(edgecanary_refused_requests_total{{{_SELF}}}[$__rate_interval]))",
                "{{status}}",
            ),
            look=Look("reqps"),
        ),
        lines(
            "Downloads",
            "Bytes per second, of full files and of deltas.",
            Query(
                f"sum by (kind) (rate(edgecanary_download_bytes_total{{{_SELF}}}[$__rate_interval]))",
                "{{kind}}",
            ),
            look=Look("Bps"),
        ),
        lines(
            "Outbox",
            "Compressed samples that wait for Prometheus, and what may wait.",
            Query(f"max(edgecanary_remote_write_waiting_bytes{{{_SELF}}})", "waiting"),
            Query(f"max(edgecanary_remote_write_max_bytes{{{_SELF}}})", "bound"),
            look=Look("bytes"),
        ),
        lines(
            "Samples that left the outbox",
            "Per second: sent, or why they were dropped.",
            Query(
                "sum by (outcome)"
                f" (rate(edgecanary_remote_write_samples_total{{{_SELF}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
            look=Look("ops"),
        ),
        lines(
            "Requests to Prometheus that are tried again",
            "Per second.",
            Query(
                f"sum(rate(edgecanary_remote_write_failures_total{{{_SELF}}}[$__rate_interval]))", "failures"
            ),
            look=Look("ops"),
        ),
        lines(
            "Clock",
            "How far the node's clock is ahead of Prometheus's, where the agent pushes.",
            Query(f"max(edgecanary_remote_write_clock_offset_seconds{{{_SELF}}})", "ahead"),
            look=Look("s"),
        ),
        lines(
            "Shadow",
            "Answers compared with the previous revision's, per second.",
            Query(
                f"sum by (model, outcome) (rate(edgecanary_shadow_total{{{_SELF}}}[$__rate_interval]))",
                "{{model}} {{outcome}}",
            ),
            look=Look("ops"),
        ),
    ]
