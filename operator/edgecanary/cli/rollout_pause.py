"""`edgecanary rollout pause` and `resume`: the one field of the spec that they change."""

import argparse
import sys

from edgecanary.api.rollout import Rollout
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.rollout_action import Change, change, print_changed, wait_for_echo
from edgecanary.controller.views import parse

_MANAGED = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Marks of who keeps an object as Git has it."""


def run(options: argparse.Namespace) -> int:
    """Pauses or resumes; returns the exit code."""
    paused = options.action == "pause"
    word = "paused" if paused else "resumed"

    def wanted(rollout: Rollout) -> Change:
        if rollout.spec.paused is paused:
            return Change("is paused already" if paused else "is not paused", None)
        return Change(word, {"spec": {"paused": paused}})

    with session(options) as cluster:
        changed = change(cluster, options, wanted)
        print_changed(changed, options)
        rollout = parse(Rollout, changed.body)
        if changed.change.patch is not None and (who := manager(rollout)):
            sys.stderr.write(
                f"edgecanary: {who} keeps this Rollout as Git has it: set spec.paused there, too\n"
            )
        if options.wait and options.dry_run == "none":
            generation = rollout.metadata.generation
            return wait_for_echo(cluster, options, lambda seen: seen.status.observed_generation >= generation)
    return Exit.DONE


def manager(rollout: Rollout) -> str:
    """Who would set the spec back, by the marks that they leave; empty when nobody is known."""
    marks = {**rollout.metadata.annotations, **rollout.metadata.labels}
    return next((name for mark, name in _MANAGED.items() if mark in marks), "")
