"""One Rollout: its step, its nodes, its gates, and the two revisions side by side."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.frame import frame, variable, with_rows
from dashboards.panels import (
    GREEN,
    RED,
    YELLOW,
    Look,
    Query,
    lines,
    names,
    number,
    timeline,
)

_SELF = 'namespace="$namespace", rollout="$rollout"'
_MODEL = 'namespace="$namespace", model="$model"'
_INFO = f"edgecanary_rollout_info{{{_SELF}}}"
_VERDICT = "edgecanary_rollout_gate_verdict"
_AGE = Look("s", ((None, GREEN), (3600.0, YELLOW), (86400.0, RED)))


def build() -> Dashboard:
    """The dashboard."""
    about = "One Rollout: how far it is, what its gates say, and how its revisions do."
    dashboard = (
        frame("rollout", "edgecanary / Rollout", about)
        .with_variable(variable("namespace", "Namespace", "label_values(edgecanary_rollout_info, namespace)"))
        .with_variable(
            variable(
                "rollout", "Rollout", 'label_values(edgecanary_rollout_info{namespace="$namespace"}, rollout)'
            )
        )
        .with_variable(variable("model", "Model", f"label_values({_INFO}, model)", hidden=True))
    )
    return with_rows(
        dashboard, [("Now", _now()), ("Step", _step()), ("Revisions, all nodes together", _revisions())]
    )


def _now() -> list[Builder[Panel]]:
    return [
        names(
            "Phase",
            "Suspended: it waits for a person.",
            Query(f"max by (phase) (edgecanary_rollout_phase{{{_SELF}}} == 1)", "{{phase}}"),
        ),
        names(
            "Stable",
            "The version that the fleet falls back on.",
            Query(f"max by (stable) ({_INFO})", "{{stable}}"),
        ),
        names("Canary", "The version under test.", Query(f"max by (canary) ({_INFO})", "{{canary}}")),
        number(
            "Step since",
            "Age of the step that is under way.",
            Query(f"time() - max(edgecanary_rollout_step_start_timestamp_seconds{{{_SELF}}})"),
            look=_AGE,
        ),
        number(
            "Bake since",
            "Since the quorum of the step's nodes was updated.",
            Query(f"time() - max(edgecanary_rollout_bake_start_timestamp_seconds{{{_SELF}}})"),
            look=Look("s"),
        ),
        number(
            "Waits since",
            "For one and the same thing, which the name says.",
            Query(
                f"time() - max by (reason) (edgecanary_rollout_waiting_since_timestamp_seconds{{{_SELF}}})",
                "{{reason}}",
            ),
            look=_AGE,
        ),
    ]


def _step() -> list[Builder[Panel]]:
    gate = "max by (gate)"
    verdict = (
        f'2 * {gate} ({_VERDICT}{{{_SELF}, verdict="Fail"}})'
        f' + {gate} ({_VERDICT}{{{_SELF}, verdict="Inconclusive"}})'
    )
    return [
        lines(
            "Nodes",
            "The nodes that the selector matches; each counts once.",
            Query(f"max by (state) (edgecanary_rollout_nodes{{{_SELF}}})", "{{state}}"),
            stacked=True,
            width=12,
        ),
        timeline(
            "Gates",
            "What each gate said while a step was under way.",
            Query(verdict, "{{gate}}"),
            {"0": ("Pass", GREEN), "1": ("Inconclusive", YELLOW), "2": ("Fail", RED)},
        ),
        lines(
            "Position",
            "The step that is under way, from 0.",
            Query(f"max(edgecanary_rollout_step{{{_SELF}}})", "step"),
            width=6,
        ),
        lines(
            "Looks without a value",
            "In a row, by gate.",
            Query(
                f"max by (gate, cause) (edgecanary_rollout_gate_looks_without_value{{{_SELF}}})",
                "{{gate}} {{cause}}",
            ),
            width=6,
        ),
        lines(
            "Failures on nodes",
            "Nodes of the step by what the canary failed in there.",
            Query(f"max by (kind) (edgecanary_rollout_node_failures{{{_SELF}}})", "{{kind}}"),
            width=6,
        ),
        lines(
            "Slowest node",
            "For how long the slowest online node has been on its way; held by its device or not.",
            Query(f"max by (held) (edgecanary_rollout_longest_pending_seconds{{{_SELF}}})", "held: {{held}}"),
            look=Look("s"),
            width=6,
        ),
    ]


def _revisions() -> list[Builder[Panel]]:
    requests = f"sum by (version) (rate(edgecanary_requests_total{{{_MODEL}}}[$__rate_interval]))"
    errors = (
        f'sum by (version) (rate(edgecanary_requests_total{{{_MODEL}, outcome="error"}}[$__rate_interval]))'
    )
    buckets = (
        "sum by (version, le)"
        f" (rate(edgecanary_request_duration_seconds_bucket{{{_MODEL}}}[$__rate_interval]))"
    )
    feedback = f"rate(edgecanary_feedback_total{{{_MODEL}}}[$__rate_interval])"
    correct = f'rate(edgecanary_feedback_total{{{_MODEL}, outcome="correct"}}[$__rate_interval])'
    return [
        lines(
            "Nodes that serve it",
            "By version.",
            Query(f'count by (version) (edgecanary_model_state{{{_MODEL}, role="active"}})', "{{version}}"),
        ),
        lines("Requests", "Per second.", Query(requests, "{{version}}"), look=Look("reqps")),
        lines(
            "Errors",
            "Share of the requests that the model failed.",
            Query(f"{errors} / {requests}", "{{version}}"),
            look=Look("percentunit"),
        ),
        lines(
            "Latency, p95",
            "From the whole request being read to the answer being ready.",
            Query(f"histogram_quantile(0.95, {buckets})", "{{version}}"),
            look=Look("s"),
        ),
        lines(
            "Right answers",
            "Share of the feedback that says correct.",
            Query(f"sum by (version) ({correct}) / sum by (version) ({feedback})", "{{version}}"),
            look=Look("percentunit"),
        ),
        lines(
            "Drift",
            "The largest distance from the model's profile, of any node.",
            Query(
                f"max by (version, feature) (edgecanary_drift_score{{{_MODEL}}})", "{{version}} {{feature}}"
            ),
        ),
    ]
