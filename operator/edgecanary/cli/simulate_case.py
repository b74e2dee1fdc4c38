"""From files and flags to what is simulated: the Rollout, the fleet, and what is assumed of today's model."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecanary.api.analysis import Analysis, Metric, Preset
from edgecanary.api.edgemodel import EdgeModel, EdgeModelSpec
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import LabelSelector
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import InvalidInput
from edgecanary.cli.manifests import Manifest, find_model, find_rollout, read_manifests
from edgecanary.controller.views import identify, read_node
from edgecanary.rollout.eligibility import NodeFacts, fitting_variant, misfits
from edgecanary.rollout.selector import matches
from edgecanary.rollout.statement import state
from edgecanary.rollout.validation import check_rollout
from edgecanary.simulator.fleet import RUNTIMES, NodeTraits, draw_fleet, equip
from edgecanary.simulator.models import default_spec
from edgecanary.simulator.runs import Case
from edgecanary.simulator.settings import FleetSettings, LabelMix, Regression, Traffic, Version

STRATUM_SHARES = (0.5, 0.3, 0.2)
"""How made-up nodes are spread over the values of a label that the Rollout stratifies by."""


@dataclass(frozen=True)
class Prepared:
    """The case, and what a person should know of how it was made."""

    case: Case
    left_out: tuple[str, ...]


def prepare(options: argparse.Namespace) -> Prepared:
    """The case that files and flags mean. Raises InvalidInput naming field or flag, value, rule and what to do."""
    if options.filename == "-" and options.fleet == "-":
        raise InvalidInput("--fleet", "must not be - when -f is - too", reason="InvalidSetting")
    if (options.nodes is None) == (options.fleet is None):
        text = "exactly one of --nodes (how many to make up) and --fleet (a file of Nodes) must be given"
        raise InvalidInput("--nodes", text, reason="InvalidSetting")
    manifests = read_manifests(options.filename)
    rollout = find_rollout(manifests, file=options.filename)
    check_rollout(rollout.spec)
    model = find_model(manifests, rollout.spec.model_ref.name, file=options.filename)
    base = model.spec if model else default_spec()
    traffic = _traffic(rollout, options)
    settings = FleetSettings(nodes=options.nodes or 1, traffic=traffic)
    if options.fleet is None:
        settings = FleetSettings(
            nodes=options.nodes,
            mixes=_mixes(rollout, options.on),
            labels=_labels(rollout.spec.node_selector),
            architecture=_architecture(base),
            traffic=traffic,
        )
        nodes = draw_fleet(settings, options.seed)
    else:
        nodes = equip(_read_nodes(read_manifests(options.fleet), options.fleet), settings, options.seed)
    _check_fleet(rollout, base, nodes, options.on)
    judged, left_out = _without_custom_queries(rollout)
    version = Version(
        "candidate",
        Regression(options.worse, options.share, options.on, options.start),
        megabytes=_megabytes(model),
    )
    return Prepared(Case(judged, nodes, settings, version, options.days, base), left_out)


def _without_custom_queries(rollout: Rollout) -> tuple[Rollout, tuple[str, ...]]:
    """The Rollout without metrics whose answers cannot be made up, and their names."""
    analysis = rollout.spec.analysis
    left_out = tuple(metric.name for metric in analysis.metrics if metric.preset is None) if analysis else ()
    if analysis is None or not left_out:
        return rollout, ()
    kept = tuple(metric for metric in analysis.metrics if metric.preset is not None)
    changed = analysis.model_copy(update={"metrics": kept}) if kept else None
    return rollout.model_copy(
        update={"spec": rollout.spec.model_copy(update={"analysis": changed})}
    ), left_out


def _traffic(rollout: Rollout, options: argparse.Namespace) -> Traffic:
    """Today's model: the given share of errors; elsewhere half of what the thresholds allow."""
    analysis, usual = rollout.spec.analysis, Traffic()
    wrong = _allowed(analysis, Preset.ACCURACY)
    different = _allowed(analysis, Preset.DISAGREEMENT)
    return Traffic(
        requests_per_hour=options.requests_per_hour,
        error_rate=options.error_rate,
        wrong_rate=usual.wrong_rate if wrong is None else wrong / 2,
        disagree_rate=usual.disagree_rate if different is None else different / 2,
    )


def _allowed(analysis: Analysis | None, preset: Preset) -> float | None:
    """The share of bad answers that a preset's threshold allows."""
    for metric in analysis.metrics if analysis else ():
        if metric.preset is preset and metric.threshold is not None:
            return _share_allowed(metric)
    return None


def _share_allowed(metric: Metric) -> float | None:
    limits = metric.threshold
    if limits is None:
        return None
    if metric.preset is Preset.ACCURACY:
        return None if limits.min is None else max(0.0, 1 - float(limits.min))
    return None if limits.max is None else float(limits.max)


def _mixes(rollout: Rollout, on: tuple[str, str] | None) -> tuple[LabelMix, ...]:
    """Values for the labels that strata are made of, and for the label that `--on` names."""
    mixes = {}
    for key in rollout.spec.strategy.stratify_by:
        values = ["a", "b", "c"]
        if on is not None and on[0] == key:
            values[-1] = on[1]
        mixes[key] = LabelMix(key, dict(zip(values, STRATUM_SHARES, strict=True)))
    if on is not None and on[0] not in mixes:
        mixes[on[0]] = LabelMix(on[0], {"other": 1 - STRATUM_SHARES[-1], on[1]: STRATUM_SHARES[-1]})
    return tuple(mixes.values())


def _labels(selector: LabelSelector) -> Mapping[str, str]:
    """Labels that the selector matches."""
    found = dict(selector.match_labels)
    for requirement in selector.match_expressions:
        if requirement.operator == "In":
            found.setdefault(requirement.key, requirement.values[0])
        elif requirement.operator == "Exists":
            found.setdefault(requirement.key, "true")
    return found


def _architecture(base: EdgeModelSpec) -> str:
    asked = [variant.requires.architectures for variant in base.variants if variant.requires is not None]
    return next((names[0] for names in asked if names), "amd64")


def _megabytes(model: EdgeModel | None) -> float:
    if model is None:
        return Version("").megabytes
    return max(sum(file.size_bytes for file in variant.files) for variant in model.spec.variants) / 1e6


def _read_nodes(manifests: Sequence[Manifest], file: str) -> tuple[NodeFacts, ...]:
    """The Nodes in a file."""
    found = {}
    for manifest in manifests:
        if manifest.kind == "Node":
            body: JsonObject = {**manifest.body, "metadata": {"resourceVersion": "1", **_metadata(manifest)}}
            record, name = read_node(body), identify(body).key.name
            found[name] = NodeFacts(
                name, record.labels, record.architecture, record.memory_bytes, runtimes=RUNTIMES
            )
    if not found:
        kinds = ", ".join(sorted({manifest.kind for manifest in manifests}))
        raise InvalidInput(file, f"must hold Nodes, and holds {kinds}", reason="InvalidManifest")
    return tuple(found.values())


def _metadata(manifest: Manifest) -> JsonObject:
    metadata = manifest.body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _check_fleet(
    rollout: Rollout, base: EdgeModelSpec, nodes: Sequence[NodeTraits], on: tuple[str, str] | None
) -> None:
    chosen = [node.facts for node in nodes if matches(rollout.spec.node_selector, node.facts.labels)]
    if not chosen:
        text = f"matches none of the {len(nodes)} nodes; give --fleet a file of Nodes with the labels it asks for"
        raise InvalidInput("spec.nodeSelector", text)
    variants = state(base, "0" * 64).variants
    if not any(fitting_variant(variants, facts, serve=base.serve) for facts in chosen):
        why = misfits(variants, chosen[0], serve=base.serve)
        text = (
            f"no variant fits any node ({chosen[0].name}: {why}); give --fleet a file of Nodes that one fits"
        )
        raise InvalidInput("spec.variants", text)
    if on is not None and not any(facts.labels.get(on[0]) == on[1] for facts in chosen):
        raise InvalidInput(
            "--on",
            f"must be a label of some node, got {on[0]}={on[1]}, which none has",
            reason="InvalidSetting",
        )
