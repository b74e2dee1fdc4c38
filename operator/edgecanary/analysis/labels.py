"""The agents' metrics and the labels that choose a model's revision among them."""

from edgecanary.analysis.template import Scope

REQUESTS = "edgecanary_requests_total"
FEEDBACK = "edgecanary_feedback_total"
SHADOW = "edgecanary_shadow_total"
DURATION = "edgecanary_request_duration_seconds"
MEMORY = "edgecanary_model_memory_bytes"
DRIFT = "edgecanary_drift_score"
DRIFT_SAMPLES = "edgecanary_drift_samples"


def of_revision(scope: Scope, revision: str) -> str:
    """Label matchers for one revision of the model."""
    return f'namespace="{scope.namespace}",model="{scope.model}",revision="{revision}"'


def of_both(scope: Scope) -> str:
    """Label matchers for the canary and the stable revision of the model."""
    return f'namespace="{scope.namespace}",model="{scope.model}",revision=~"{scope.canary}|{scope.stable}"'
