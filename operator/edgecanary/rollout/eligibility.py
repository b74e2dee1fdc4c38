"""Which variant of a model fits a node."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from edgecanary.api.artifacts import Format, Variant
from edgecanary.base.quantities import human_bytes, parse_bytes
from edgecanary.rollout.selector import matches

V = TypeVar("V", bound=Variant)


@dataclass(frozen=True)
class NodeFacts:
    """What decides a node's part in a rollout.

    `runtimes` None means unknown (the node's agent has not reported yet): any format may fit.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = ""
    memory_bytes: int = 0
    accelerators: frozenset[str] = frozenset()
    runtimes: frozenset[Format] | None = None


def fitting_variant(variants: Sequence[V], node: NodeFacts, *, serve: bool = True) -> V | None:
    """The first variant whose requirements the node meets, or None."""
    return next((variant for variant in variants if misfit(variant, node, serve=serve) is None), None)


def misfit(variant: Variant, node: NodeFacts, *, serve: bool = True) -> str | None:
    """Why the variant does not fit the node, for a person; None when it fits.

    A model that is only delivered (`serve` False) needs no runtime.
    """
    if (lack := _lacks(variant, node, serve=serve)) is not None:
        return lack
    if not _selects(variant, node):
        return "the variant's nodeSelector does not match"
    return None


def fitting(variants: Sequence[Variant], nodes: Iterable[NodeFacts], *, serve: bool = True) -> list[bool]:
    """For each node whether a variant fits, as `fitting_variant` says it.

    Nodes of the same hardware are looked at once, as far as labels do not decide.
    """
    by_hardware: dict[tuple[object, ...], tuple[Variant, ...]] = {}
    found = []
    for node in nodes:
        hardware = (node.architecture, node.memory_bytes, node.accelerators, node.runtimes)
        able = by_hardware.get(hardware)
        if able is None:
            able = tuple(variant for variant in variants if _lacks(variant, node, serve=serve) is None)
            able = tuple(variant for variant in able if _is_for_all(variant))[:1] or able
            by_hardware[hardware] = able
        found.append(any(_is_for_all(variant) or _selects(variant, node) for variant in able))
    return found


def _is_for_all(variant: Variant) -> bool:
    return variant.requires is None or variant.requires.node_selector is None


def _selects(variant: Variant, node: NodeFacts) -> bool:
    """Whether the variant's nodeSelector matches the node's labels."""
    needs = variant.requires
    return needs is None or needs.node_selector is None or matches(needs.node_selector, node.labels)


def _lacks(variant: Variant, node: NodeFacts, *, serve: bool) -> str | None:
    """What the node's hardware or agent lacks for the variant."""
    if serve and node.runtimes is not None and variant.format not in node.runtimes:
        return f"no runtime for {variant.format}"
    needs = variant.requires
    if needs is None:
        return None
    if needs.architectures and node.architecture not in needs.architectures:
        return f"architecture {node.architecture or 'unknown'} is not among {', '.join(needs.architectures)}"
    if needs.min_memory is not None:
        least = parse_bytes(needs.min_memory, field="requires.minMemory")
        if node.memory_bytes < least:
            return f"memory {human_bytes(node.memory_bytes)} is less than {needs.min_memory}"
    if missing := set(needs.accelerators) - node.accelerators:
        return f"no accelerator {', '.join(sorted(missing))}"
    return None


def misfits(variants: Iterable[Variant], node: NodeFacts, *, serve: bool = True) -> str:
    """Why no variant fits, variant by variant, for a person."""
    return "; ".join(f"{variant.name}: {misfit(variant, node, serve=serve)}" for variant in variants)
