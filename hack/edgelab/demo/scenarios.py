"""The demo's first, better and careless version, and the node that comes back.

Each scenario does something, waits for what is to come of it, and then compares: the API server's objects,
the agents' own answers, the traffic's counts.
"""

from edgelab.demo.findings import check_promoted, check_steps, check_taken_back
from edgelab.demo.stage import Stage
from edgelab.fleet import wait_for


def first_release(stage: Stage) -> None:
    """(a) The model's first version goes to every node at once."""
    stage.begin("a", "The first release of a model")
    for name in ("namespace.yaml", "model-bucket.yaml", "rollout.yaml"):
        stage.apply(stage.renderer.plain(name))
    version = stage.publish("1.0.0")
    everybody = set(stage.fleet.agents)
    stage.wait("every node runs it", lambda: stage.running(version) == everybody, version=version)
    for name, agent in stage.fleet.agents.items():
        stage.traffic.add(name, agent.url)
    stage.note(f"all {len(everybody)} nodes serve it; traffic begins, with feedback on every answer")
    stage.subject.promoted(version.revision)
    stage.note(f"{version.short} is promoted")
    check_promoted(stage, version, nodes=everybody, reason="Promoted")


def better_version(stage: Stage) -> None:
    """(b) A better version goes 1 node, 25 %, 100 %, while one node is offline."""
    stage.begin("b", "A better version goes 1 node -> 25 % -> 100 % and is promoted; one node is offline")
    node = stage.never_in_front(("2.0.0", "3.0.0", "4.0.0"))
    stage.narrator.say(
        f"{node} goes offline. It is none of those that take the next versions before all do: a step "
        "whose only node is offline would rightly wait for it"
    )
    stage.offline = node
    stage.traffic.remove(node)
    stage.fleet.take_offline(node)
    version = stage.publish("2.0.0")
    stage.subject.promoted(version.revision)
    stage.note(f"{version.short} is promoted, {node} is to follow")
    check_promoted(stage, version, nodes=stage.online, reason="StragglersPending")
    check_steps(stage, version)
    stage.checks.contains("the status names the node that is to follow", stage.subject.message(), node)


def careless_version(stage: Stage) -> None:
    """(c) A version that passes its golden cases and is wrong in the field is taken back."""
    stage.begin("c", "A version that passes its golden cases and is wrong in the field is taken back")
    stable = stage.versions["2.0.0"]
    version = stage.publish("3.0.0")
    first = stage.first_in_line(version)
    stage.wait(f"{first} runs {version.short}", lambda: first in stage.running(version), version=version)
    stage.note(f"{first} passed its probe with {version.short} and serves it")
    stage.subject.rolled_back(version.revision)
    stage.note(f"{version.short} is withdrawn")
    stage.wait(f"every node runs {stable.short}", lambda: stage.running(stable) == stage.online)
    stage.note(f"every node runs {stable.short} again")
    check_taken_back(stage, version, first=first, stable=stable)


def node_returns(stage: Stage) -> None:
    """(e) The node that was offline comes back and catches up."""
    stage.begin("e", "The offline node comes back and catches up")
    node, stable = stage.offline, stage.versions["4.0.0"]
    assert node is not None, "scenario (b) takes a node offline"
    stage.fleet.bring_online(node)
    wait_for(f"{node} serves what it has", lambda: stage.subject.is_served(node))
    stage.traffic.add(node, stage.fleet.agents[node].url)
    stage.offline = None
    stage.note(f"{node} is back; it left with 1.0.0 and missed 2.0.0, 3.0.0 and 4.0.0")
    stage.wait(f"{node} runs {stable.short}", lambda: node in stage.running(stable))
    stage.note(f"{node} runs {stable.short}")
    stage.wait("the Rollout waits for nobody", lambda: stage.subject.reason() == "Promoted")
    wait_for(
        f"{node} answers requests with {stable.short}",
        lambda: stable.revision in stage.traffic.report().agents[node].revisions,
    )
    check_promoted(stage, stable, nodes=set(stage.fleet.agents), reason="Promoted")
    answered = {stage.name_of(revision) for revision in stage.traffic.report().agents[node].revisions}
    stage.checks.equal(f"{node} never ran what it missed", answered, {"1.0.0", stable.name})
