"""When each alert must fire, with what words, and when it must not. Series are of one value a minute.

`"0 1x5"` is promtool's way to write six values; `_` is a minute without a sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLLOUT = 'namespace="plant", rollout="pump"'
MODEL = 'namespace="plant", model="pump", version="2.4.0"'
HOUR = 3_600
DAY = 24 * HOUR


@dataclass(frozen=True)
class Fires:
    """The labels that an alert fires with, besides its severity, and its words."""

    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Case:
    """What Prometheus has seen, and what the alert says after so many minutes; nothing by default."""

    alert: str
    when: str
    series: Mapping[str, str]
    minutes: int
    fires: tuple[Fires, ...] = field(default=())


def waiting(reason: str) -> str:
    return f'edgecanary_rollout_waiting_since_timestamp_seconds{{{ROLLOUT}, reason="{reason}"}}'


def pending(held: str) -> str:
    return f'edgecanary_rollout_longest_pending_seconds{{{ROLLOUT}, held="{held}"}}'


def work(outcome: str) -> str:
    return f'edgecanary_operator_reconcile_seconds_count{{queue="rollout", outcome="{outcome}"}}'


def requests(outcome: str, node: str = "edge-01") -> str:
    return f'edgecanary_requests_total{{{MODEL}, outcome="{outcome}", node="{node}"}}'


def credential(what: str, kind: str = "token") -> str:
    return f'edgecanary_agent_credential_{what}_timestamp_seconds{{node="edge-01", kind="{kind}"}}'


DOWN = Fires(
    {},
    "No edgecanary operator answers.",
    "Prometheus has had no sample of an operator for 5 minutes. Nodes go on serving; no step, no gate and no "
    "rollback by a gate happens until it is back.",
)
LEADERLESS = Fires(
    {},
    "No edgecanary operator leads.",
    "Operators answer and none of them has held the Lease for 2 minutes, so nobody moves Rollouts.",
)


def stuck(reason: str, span: str) -> Fires:
    return Fires(
        {"namespace": "plant", "rollout": "pump", "reason": reason},
        f"Rollout plant/pump is stuck ({reason}).",
        f"Rollout plant/pump has waited for {span} with the reason {reason}.",
    )


def node_stuck(held: str, span: str) -> Fires:
    return Fires(
        {"namespace": "plant", "rollout": "pump", "held": held},
        "An online node does not get what plant/pump assigns to it.",
        "A node that is online has been on its way to the revision that Rollout plant/pump assigns to it for "
        f"{span} (held by its device: {held}).",
    )


def signature(span: str) -> Fires:
    return Fires(
        {"namespace": "plant", "model": "pump"},
        "The signature of model plant/pump expires.",
        f"The signed statement of EdgeModel plant/pump ends in {span} (negative: it has ended). From then on no "
        "node installs it anew; nodes that run it go on.",
    )


def expiring(kind: str, share: str) -> Fires:
    return Fires(
        {"node": "edge-01", "kind": kind},
        f"The {kind} of the agent on node edge-01 expires.",
        f"{share} of the life of the {kind} with which the agent on node edge-01 talks to the API server is left "
        "(negative: it has ended). After its end the node serves what it has, and hears and reports nothing.",
    )


SIGNED = 'edgecanary_model_signature_expiry_timestamp_seconds{namespace="plant", model="pump"}'
PHASE = f'edgecanary_rollout_phase{{{ROLLOUT}, phase="RolledBack"}}'
LOOKS = f'edgecanary_rollout_gate_looks_without_value{{{ROLLOUT}, gate="errors", cause="no_data"}}'
DRIFT = f'edgecanary_drift_score{{{MODEL}, feature="confidence", node="edge-01"}}'
SILENT = 'edgecanary_operator_agents{state="silent"}'
WAITING_BYTES = 'edgecanary_remote_write_waiting_bytes{node="edge-01"}'
MOST_BYTES = 'edgecanary_remote_write_max_bytes{node="edge-01"}'

OPERATOR = (
    Case("EdgecanaryOperatorDown", "it was never seen", {}, 6, (DOWN,)),
    Case(
        "EdgecanaryOperatorDown",
        "it was seen and is gone",
        {'edgecanary_operator_info{version="1"}': "1x10 stale"},
        18,
        (DOWN,),
    ),
    Case(
        "EdgecanaryOperatorDown",
        "one of two replicas is gone",
        {
            'edgecanary_operator_info{version="1", pod="a"}': "1x5 stale",
            'edgecanary_operator_info{version="1", pod="b"}': "1x20",
        },
        18,
    ),
    Case(
        "EdgecanaryOperatorDown", "it restarts", {'edgecanary_operator_info{version="1"}': "1x5 _x3 1x20"}, 14
    ),
    Case(
        "EdgecanaryNoLeader",
        "nobody leads",
        {'edgecanary_leader{pod="a"}': "0x20", 'edgecanary_leader{pod="b"}': "1x5 0x15"},
        10,
        (LEADERLESS,),
    ),
    Case(
        "EdgecanaryNoLeader",
        "one leads",
        {'edgecanary_leader{pod="a"}': "0x20", 'edgecanary_leader{pod="b"}': "1x20"},
        10,
    ),
    Case("EdgecanaryNoLeader", "there is no election", {'edgecanary_operator_info{version="1"}': "1x20"}, 10),
    Case(
        "EdgecanaryReconcileErrors",
        "a fifth of the work fails",
        {work("ok"): "0+8x40", work("ApiServerUnreachable"): "0+2x40"},
        30,
        (
            Fires(
                {"queue": "rollout"},
                "The operator fails at much of its work of the kind rollout.",
                "20% of the work of queue rollout has ended in errors for 15 minutes.",
            ),
        ),
    ),
    Case(
        "EdgecanaryReconcileErrors",
        "others write meanwhile",
        {work("ok"): "0+8x40", work("Conflict"): "0+9x40", work("AlreadyExists"): "0+1x40"},
        30,
    ),
    Case("EdgecanaryReconcileErrors", "all goes well", {work("ok"): "0+8x40"}, 30),
    Case("EdgecanaryReconcileErrors", "there is no operator", {}, 30),
)

ROLLOUTS = (
    Case(
        "EdgecanaryRolloutStuck",
        "nodes have been updating for long",
        {waiting("NodesUpdating"): f"{-6 * HOUR}x20"},
        10,
        (stuck("NodesUpdating", "6h 10m 0s"),),
    ),
    Case(
        "EdgecanaryRolloutStuck",
        "two replicas say it",
        {
            waiting("NodesOffline").replace("{", '{pod="a", '): f"{-6 * HOUR}x20",
            waiting("NodesOffline").replace("{", '{pod="b", '): f"{-6 * HOUR}x20",
        },
        10,
        (stuck("NodesOffline", "6h 10m 0s"),),
    ),
    Case(
        "EdgecanaryRolloutStuck",
        "its deadline has passed",
        {waiting("DeadlineExceeded"): "0x20"},
        12,
        (stuck("DeadlineExceeded", "12m 0s"),),
    ),
    Case(
        "EdgecanaryRolloutStuck",
        "an approval is not given",
        {waiting("AwaitingApproval"): f"{-DAY}x20"},
        10,
        (stuck("AwaitingApproval", "1d 0h 10m 0s"),),
    ),
    Case(
        "EdgecanaryRolloutStuck", "nodes are on their way", {waiting("NodesUpdating"): f"{-5 * HOUR}x20"}, 10
    ),
    Case("EdgecanaryRolloutStuck", "it bakes", {waiting("Baking"): f"{-2 * DAY}x20"}, 10),
    Case("EdgecanaryRolloutStuck", "a person paused it", {waiting("Paused"): f"{-2 * DAY}x20"}, 10),
    Case(
        "EdgecanaryRolloutStuck",
        "the Rollout is gone",
        {waiting("NodesUpdating"): f"{-6 * HOUR}x7 stale"},
        10,
    ),
    Case("EdgecanaryRolloutStuck", "there is nothing", {}, 10),
    Case(
        "EdgecanaryRolloutRolledBack",
        "a revision was taken back",
        {PHASE: "0x5 1x5"},
        8,
        (
            Fires(
                {"namespace": "plant", "rollout": "pump"},
                "A revision of plant/pump was taken back.",
                "Rollout plant/pump runs its stable revision again; the one in the EdgeModel was rejected. It "
                "stays so until another revision comes or a retry is asked for.",
            ),
        ),
    ),
    Case("EdgecanaryRolloutRolledBack", "another revision came", {PHASE: "1x5 0x5"}, 8),
    Case("EdgecanaryRolloutRolledBack", "there is nothing", {}, 8),
    Case(
        "EdgecanaryGateWithoutData",
        "no look gave a value",
        {LOOKS: "0+1x40"},
        20,
        (
            Fires(
                {"namespace": "plant", "rollout": "pump", "gate": "errors", "cause": "no_data"},
                "Gate errors of plant/pump gets no value.",
                "The last 20 looks of gate errors of Rollout plant/pump gave no value (no_data). Without one the "
                "revision is neither promoted nor taken back by this gate.",
            ),
        ),
    ),
    Case("EdgecanaryGateWithoutData", "a look gave a value meanwhile", {LOOKS: "0+1x10 0+1x30"}, 24),
    Case("EdgecanaryGateWithoutData", "the step is over", {LOOKS: "0+1x14 stale"}, 30),
    Case("EdgecanaryGateWithoutData", "there is nothing", {}, 30),
    Case(
        "EdgecanaryNodeStuck",
        "a node has been on its way for long",
        {pending("false"): "3600+60x20", pending("true"): "0x20"},
        10,
        (node_stuck("false", "1h 10m 0s"),),
    ),
    Case(
        "EdgecanaryNodeStuck",
        "its device holds it for days",
        {pending("false"): "0x20", pending("true"): f"{2 * DAY}+60x20"},
        10,
        (node_stuck("true", "2d 0h 10m 0s"),),
    ),
    Case("EdgecanaryNodeStuck", "its device holds it for a day", {pending("true"): f"{DAY}+60x20"}, 10),
    Case("EdgecanaryNodeStuck", "it arrives", {pending("false"): "3600+60x7 0x20"}, 10),
    Case("EdgecanaryNodeStuck", "there is nothing", {}, 10),
    Case(
        "EdgecanarySignatureExpires",
        "ten days are left",
        {SIGNED: f"{10 * DAY}x20"},
        10,
        (signature("9d 23h 50m 0s"),),
    ),
    Case("EdgecanarySignatureExpires", "it has ended", {SIGNED: "0x20"}, 10, (signature("-10m 0s"),)),
    Case("EdgecanarySignatureExpires", "a month is left", {SIGNED: f"{30 * DAY}x20"}, 10),
    Case("EdgecanarySignatureExpires", "nothing is signed", {}, 10),
)

MODELS = (
    Case(
        "EdgecanaryModelErrorRate",
        "a tenth of the requests fails, on two nodes together",
        {
            requests("ok"): "0+60x40",
            requests("error"): "0+20x40",
            requests("ok", "edge-02"): "0+120x40",
            requests("error", "edge-02"): "0x40",
        },
        25,
        (
            Fires(
                {"namespace": "plant", "model": "pump", "version": "2.4.0"},
                "Model plant/pump 2.4.0 fails requests.",
                "10% of the requests to plant/pump 2.4.0 failed in the last 10 minutes, all nodes together.",
            ),
        ),
    ),
    Case(
        "EdgecanaryModelErrorRate",
        "few requests fail",
        {requests("ok"): "0+98x40", requests("error"): "0+2x40"},
        25,
    ),
    Case(
        "EdgecanaryModelErrorRate",
        "there are few requests",
        {requests("ok"): "0+1x40", requests("error"): "0+1x40"},
        25,
    ),
    Case("EdgecanaryModelErrorRate", "there are none", {}, 25),
    Case(
        "EdgecanaryModelDrift",
        "one node has drifted for long",
        {DRIFT: "0.25x60", DRIFT.replace("edge-01", "edge-02"): "0.01x60"},
        40,
        (
            Fires(
                {"namespace": "plant", "model": "pump", "version": "2.4.0", "feature": "confidence"},
                "confidence of plant/pump 2.4.0 drifts.",
                "On some node confidence of plant/pump 2.4.0 has differed from the model's profile by 0.25 for 30 "
                "minutes (0 is no drift, 1 all differs).",
            ),
        ),
    ),
    Case("EdgecanaryModelDrift", "it passes", {DRIFT: "0.25x20 0.02x40"}, 40),
    Case("EdgecanaryModelDrift", "scores are around 0", {DRIFT: "-0.01x60"}, 40),
    Case("EdgecanaryModelDrift", "no model has a profile", {}, 40),
)

AGENTS = (
    Case(
        "EdgecanaryAgentSilent",
        "three are silent, and two replicas say so",
        {SILENT.replace("{", '{pod="a", '): "3x20", SILENT.replace("{", '{pod="b", '): "3x20"},
        10,
        (
            Fires(
                {},
                "Agents of nodes that are Ready have stopped reporting.",
                "3 agents have not written their EdgeNode for more than 30 minutes although their Nodes are Ready.",
            ),
        ),
    ),
    Case("EdgecanaryAgentSilent", "none is", {SILENT: "0x20"}, 10),
    Case("EdgecanaryAgentSilent", "there is no operator", {}, 10),
    Case(
        "EdgecanaryOutboxNearBound",
        "it is nearly full",
        {WAITING_BYTES: "58720256x20", MOST_BYTES: "67108864x20"},
        10,
        (
            Fires(
                {"node": "edge-01"},
                "The outbox of node edge-01 is nearly full.",
                "87.5% of what may wait for Prometheus on node edge-01 is used. When it is full, the oldest "
                "samples are dropped.",
            ),
        ),
    ),
    Case(
        "EdgecanaryOutboxNearBound",
        "what is known is twenty minutes old",
        {WAITING_BYTES: "67108864x20", MOST_BYTES: "67108864x20"},
        40,
        (
            Fires(
                {"node": "edge-01"},
                "The outbox of node edge-01 is nearly full.",
                "100% of what may wait for Prometheus on node edge-01 is used. When it is full, the oldest "
                "samples are dropped.",
            ),
        ),
    ),
    Case(
        "EdgecanaryOutboxNearBound",
        "it is half full",
        {WAITING_BYTES: "33554432x20", MOST_BYTES: "67108864x20"},
        10,
    ),
    Case("EdgecanaryOutboxNearBound", "nodes are scraped", {}, 10),
    Case(
        "EdgecanaryCredentialExpires",
        "two of thirty days are left",
        {credential("expiry"): f"{2 * DAY}x20", credential("issued"): f"{-28 * DAY}x20"},
        10,
        (expiring("token", "6.644%"),),
    ),
    Case(
        "EdgecanaryCredentialExpires",
        "it has ended",
        {credential("expiry", "ca"): "0x20", credential("issued", "ca"): "-6000x20"},
        10,
        (expiring("ca", "-10%"),),
    ),
    Case(
        "EdgecanaryCredentialExpires",
        "the kubelet renews a pod's token in time",
        {
            credential("expiry"): "3600x48 6480x48",
            credential("issued"): "0x48 2880x48",
        },
        60,
    ),
    Case("EdgecanaryCredentialExpires", "none says when it ends", {}, 10),
)

CASES = (*OPERATOR, *ROLLOUTS, *MODELS, *AGENTS)
