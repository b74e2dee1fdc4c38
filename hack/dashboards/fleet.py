"""The fleet: all Rollouts, all agents, the operator."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.frame import frame, with_rows
from dashboards.panels import GREEN, ORANGE, RED, YELLOW, Look, Query, bars, lines, names, number, rows

_RECONCILE = "edgecanary_operator_reconcile_seconds"
_BY_VERSION = "sum by (namespace, model, version)"
_VERSION = "{{namespace}}/{{model}} {{version}}"
_AGE = Look("s", ((None, GREEN), (3600.0, YELLOW), (21600.0, RED)))
_ANY = Look(steps=((None, GREEN), (1.0, ORANGE)))


def build() -> Dashboard:
    """The dashboard."""
    about = "All Rollouts and agents of a cluster, and the operator that moves them."
    return with_rows(
        frame("fleet", "edgecanary / Fleet", about),
        [
            ("Now", [*_now(), *_standing()]),
            ("Models, all nodes together", _models()),
            ("Operator", _operator()),
        ],
    )


def _now() -> list[Builder[Panel]]:
    return [
        number(
            "Alerts",
            "Alerts of edgecanary that fire.",
            Query('count(ALERTS{alertname=~"Edgecanary.*", alertstate="firing"}) or vector(0)'),
            look=_ANY,
        ),
        number(
            "Oldest unanswered step",
            "Age of the oldest step whose quorum of nodes has not answered.",
            Query("max(edgecanary_operator_oldest_unanswered_step_seconds)"),
            look=_AGE,
        ),
        number(
            "Silent agents",
            "Agents of Ready nodes of which nothing was heard for 30 minutes.",
            Query('max(edgecanary_operator_agents{state="silent"})'),
            look=_ANY,
        ),
        number(
            "Longest silence",
            "For how long nothing was heard of the most silent agent whose Node is Ready.",
            Query("max(edgecanary_operator_agent_longest_silence_seconds)"),
            look=Look("s", ((None, GREEN), (1800.0, YELLOW))),
        ),
        number(
            "Next signature to end",
            "Time left of the signed statement that ends first.",
            Query("min(edgecanary_model_signature_expiry_timestamp_seconds) - time()"),
            look=Look("s", ((None, RED), (86400.0, YELLOW), (1209600.0, GREEN))),
        ),
        names("Operator", "Versions that answer.", Query("edgecanary_operator_info", "{{version}}")),
    ]


def _standing() -> list[Builder[Panel]]:
    return [
        bars(
            "Rollouts by phase",
            "Suspended ones wait for a person.",
            Query(
                "sum by (phase) (max by (namespace, rollout, phase) (edgecanary_rollout_phase))", "{{phase}}"
            ),
            width=6,
            height=8,
        ),
        rows(
            "Rollouts",
            "Phase, model and versions.",
            Query(
                "max by (namespace, rollout, phase) (edgecanary_rollout_phase == 1)"
                " * on (namespace, rollout) group_left (model, stable, canary)"
                " max by (namespace, rollout, model, stable, canary) (edgecanary_rollout_info)"
            ),
            ["Value"],
        ),
        bars(
            "Agents",
            "What is heard of the agents of Nodes that exist.",
            Query("max by (state) (edgecanary_operator_agents)", "{{state}}"),
            width=6,
            height=8,
        ),
        lines(
            "Models on nodes by state",
            "As the agents last said; offline ones included.",
            Query("max by (state) (edgecanary_operator_node_models)", "{{state}}"),
            stacked=True,
            width=12,
        ),
        lines(
            "Revisions that ended",
            "Canaries that were promoted, taken back or given up.",
            Query(
                "sum by (outcome) (increase(edgecanary_operator_rollouts_ended_total[$__rate_interval]))",
                "{{outcome}}",
            ),
            stacked=True,
            width=12,
        ),
    ]


def _models() -> list[Builder[Panel]]:
    requests = f"{_BY_VERSION} (rate(edgecanary_requests_total[$__rate_interval]))"
    errors = f'{_BY_VERSION} (rate(edgecanary_requests_total{{outcome="error"}}[$__rate_interval]))'
    buckets = (
        "sum by (namespace, model, version, le)"
        " (rate(edgecanary_request_duration_seconds_bucket[$__rate_interval]))"
    )
    return [
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
    ]


def _operator() -> list[Builder[Panel]]:
    return [
        lines(
            "Reconcile, p95",
            "Time to work on one key.",
            Query(
                f"histogram_quantile(0.95, sum by (queue, le) (rate({_RECONCILE}_bucket[$__rate_interval])))",
                "{{queue}}",
            ),
            look=Look("s"),
        ),
        lines(
            "Reconcile errors",
            "Per second, by reason. Conflict means that somebody else wrote meanwhile.",
            Query(
                f'sum by (queue, outcome) (rate({_RECONCILE}_count{{outcome!="ok"}}[$__rate_interval]))',
                "{{queue}} {{outcome}}",
            ),
            look=Look("ops"),
        ),
        lines(
            "Queue depth",
            "Keys that are due and wait for a worker.",
            Query("max by (queue) (edgecanary_operator_queue_waiting)", "{{queue}}"),
        ),
        lines(
            "Writes to the API server",
            "Per second.",
            Query(
                "sum by (resource, verb)"
                ' (rate(edgecanary_operator_api_calls_total{verb=~"create|update|patch"}[$__rate_interval]))',
                "{{verb}} {{resource}}",
            ),
            look=Look("ops"),
        ),
        lines(
            "Questions to Prometheus",
            "Per second, by outcome.",
            Query(
                "sum by (outcome) (rate(edgecanary_operator_prometheus_queries_total[$__rate_interval]))",
                "{{outcome}}",
            ),
            look=Look("ops"),
        ),
        lines(
            "Watches behind",
            "For how long a watch owes what a list has shown.",
            Query("max by (resource) (edgecanary_operator_watch_overdue_seconds)", "{{resource}}"),
            look=Look("s"),
        ),
    ]
