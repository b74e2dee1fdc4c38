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
    if needs.node_selector is not None and not matches(needs.node_selector, node.labels):
        return "the variant's nodeSelector does not match"
    return None


def misfits(variants: Iterable[Variant], node: NodeFacts, *, serve: bool = True) -> str:
    """Why no variant fits, variant by variant, for a person."""
    return "; ".join(f"{variant.name}: {misfit(variant, node, serve=serve)}" for variant in variants)
