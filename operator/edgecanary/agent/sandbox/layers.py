"""The layers of the sandbox, and what became of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Layer(StrEnum):
    """One thing that keeps a model from harming anybody else."""

    LIMITS = "Limits"
    """Address space, memory, CPU time, open files, no file may grow, no core dump."""
    NO_PRIVILEGES = "NoPrivileges"
    """No capability and no way to gain one."""
    NETWORK_NAMESPACE = "NetworkNamespace"
    """A network of its own, without an interface that is up."""
    FILES = "Files"
    """Landlock: reads the revision and the libraries, writes nothing."""
    OWN_USER = "OwnUser"
    """A user of its own; only an agent that runs as root can give it one."""
    SYSTEM_CALLS = "SystemCalls"
    """Seccomp: no sockets, no processes, no signals to others, no writing, none of the kernel's wider surface."""


REQUIRED = (Layer.LIMITS, Layer.NO_PRIVILEGES, Layer.FILES, Layer.SYSTEM_CALLS)
"""What `--probe-sandbox required` asks of an agent that is not root; SystemCalls closes the network, too."""


@dataclass(frozen=True)
class Confines:
    """What the child is to take from itself."""

    address_space_bytes: int
    memory_bytes: int
    """Private memory that it may write to, so that it cannot take what the node's other processes need."""
    cpu_seconds: int
    readable: tuple[str, ...]
    """Files and folders of the revision."""
    user_id: int
    """For the user of its own, where the agent is root."""
    required: tuple[str, ...]
    """Layers without which the model must not be opened."""
    parent: int
    """Process id of the agent."""


@dataclass
class Enforced:
    """The layers in force, and why others are not."""

    layers: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SandboxSettings:
    """What the agent asks of the sandbox."""

    required: bool = False
    """Whether a model is only opened where all layers are in force that this agent could have."""
    user_id: int = 65530
    """A number that no account has; for an agent that runs as root."""


def required_layers(settings: SandboxSettings, *, root: bool) -> tuple[str, ...]:
    """The layers without which the model must not be opened."""
    if not settings.required:
        return ()
    return (*REQUIRED, Layer.OWN_USER) if root else REQUIRED


def sandbox_words(missing: Mapping[str, str]) -> str:
    """Each missing layer with its reason, for people."""
    return "; ".join(f"{layer}: {why}" for layer, why in missing.items())
