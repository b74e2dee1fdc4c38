"""The demo's two outages: bytes that go bad in the bucket, and a Prometheus that stops answering."""

import time

from edgecanary.api.edgenode import ModelState
from edgelab.demo.findings import check_promoted
from edgelab.demo.manifests import Version
from edgelab.demo.stage import Stage

_HOLD_SECONDS = 8.0
"""How long Prometheus stays away after the Rollout said that it waits: several looks at the gates."""


def corrupted_download(stage: Stage) -> None:
    """(d) Bytes that went bad after the operator checked them never become active."""
    stage.begin("d", "A corrupted download never becomes active")
    version = stage.prepare("4.0.0")
    node = stage.first_in_line(version)
    key = next(iter(sorted(name for name in version.files if "int8" in name)))
    good = version.files[key].path.read_bytes()
    stage.narrator.say(
        f"{node} is first in line; its agent is frozen so that the bytes go bad before it asks"
    )
    stage.traffic.remove(node)
    stage.fleet.agents[node].process.pause()
    stage.publish("4.0.0")
    stage.wait("the operator accepts the model", lambda: stage.subject.accepted(version.revision))
    stage.fleet.s3.put(stage.fleet.bucket, key, _flipped(good))
    stage.fleet.agents[node].process.resume()
    stage.traffic.add(node, stage.fleet.agents[node].url)
    stage.note(f"the EdgeModel is Ready; now the bucket has {key} with flipped bits, and {node} goes on")
    stage.wait(f"{node} refuses the bytes", lambda: _refused(stage, node, version), version=version)
    stage.wait("the Rollout says why", lambda: "DigestMismatch" in stage.subject.message(), version=version)
    stage.note(f"{node} refused them, and the Rollout says so: DigestMismatch")
    stage.narrator.say(stage.subject.message())
    _check_refused(stage, version, node)
    repaired = time.time()
    stage.fleet.s3.put(stage.fleet.bucket, key, good)
    stage.note("the right bytes are back in the bucket; nobody touches the Rollout")
    stage.subject.promoted(version.revision)
    stage.note(f"{version.short} is promoted")
    first_answer = stage.traffic.report().revisions()[version.revision].first_answer
    stage.checks.that(
        "no request was answered with it before the bytes were right",
        first_answer is not None and first_answer > repaired,
        expected=f"a first answer after {repaired:.1f}",
        got=f"{first_answer}",
    )
    check_promoted(stage, version, nodes=stage.online, reason="StragglersPending")


def prometheus_outage(stage: Stage) -> None:
    """(f) Without Prometheus nothing is promoted and nothing is rolled back."""
    stage.begin("f", "Prometheus stops in the middle of a rollout: it is held, and goes on afterwards")
    stable = stage.versions["4.0.0"]
    version = stage.publish("5.0.0")
    stage.wait(
        "the second step begins", lambda: stage.subject.step(version.revision) == "quarter", version=version
    )
    stage.fleet.prometheus.process.kill()
    stage.note("Prometheus is killed in the step quarter")
    stage.wait("it is held", lambda: stage.subject.reason() == "AnalysisInconclusive", version=version)
    stage.note("the Rollout is held: AnalysisInconclusive")
    stage.narrator.say(stage.subject.message())
    before = stage.release()
    time.sleep(_HOLD_SECONDS)
    _check_held(stage, version, stable)
    stage.checks.equal("the release is untouched while Prometheus is away", stage.release(), before)
    stage.fleet.prometheus.start()
    stage.note("Prometheus is back; nobody touches the Rollout")
    stage.subject.promoted(version.revision)
    stage.note(f"{version.short} is promoted")
    check_promoted(stage, version, nodes=set(stage.fleet.agents), reason="Promoted")


def _refused(stage: Stage, node: str, version: Version) -> bool:
    report = stage.subject.reports().get(node)
    return report is not None and report.desired == version.revision and report.result == "VerifyFailed"


def _check_refused(stage: Stage, version: Version, node: str) -> None:
    checks, report, stable = stage.checks, stage.subject.reports()[node], stage.versions["2.0.0"]
    checks.equal(
        "what the node reports", f"{report.state} {report.result}", f"{ModelState.PENDING} VerifyFailed"
    )
    checks.equal("why", report.reason, "DigestMismatch")
    checks.equal("what the node runs meanwhile", stage.name_of(report.active or ""), stable.name)
    checks.contains("the Rollout's status names the node", stage.subject.message(), node)
    checks.equal("nodes that ever ran it", set(stage.timeline.ran(version.revision)), set())
    checks.equal(
        "what the agents themselves answer with",
        stage.answering(stage.online),
        dict.fromkeys(stage.online, stable.name),
    )
    checks.equal("nothing is rejected for it", stage.subject.is_rejected(version.revision), False)


def _check_held(stage: Stage, version: Version, stable: Version) -> None:
    checks, status = stage.checks, stage.subject.rollout().status
    checks.equal("why it is held", stage.subject.reason(), "AnalysisInconclusive")
    checks.contains("the status says what is wrong", stage.subject.message(), stage.fleet.prometheus.url)
    checks.equal("nothing is promoted", status.stable.version if status.stable else None, stable.name)
    checks.equal("the step is the same", status.step.name if status.step else None, "quarter")
    checks.equal("nothing is rolled back", stage.subject.is_rejected(version.revision), False)
    checks.equal("the canary's nodes keep it", len(stage.running(version)), 3)


def _flipped(content: bytes) -> bytes:
    """The content with some bits flipped in its middle."""
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(byte ^ 0x55 for byte in content[middle : middle + 16])
        + content[middle + 16 :]
    )
