"""The control groups of the cluster: the only thing that it makes outside of its namespaces."""

from pathlib import Path

from edgelab.errors import LabError

ROOT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "memory", "pids")
_INHERITED = ("cpuset.cpus", "cpuset.mems")


def is_unified() -> bool:
    """Whether the machine has control groups of version 2 only."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """Where groups have to be made: one place in version 2, one for each controller in version 1.

    Raises:
        LabError: there are no control groups, or a controller is missing that a kubelet needs.
    """
    if is_unified():
        found = set((ROOT / "cgroup.controllers").read_text().split())
        places = [ROOT]
    else:
        places = [path for path in sorted(ROOT.glob("*/")) if (path / "tasks").exists()]
        found = {controller for path in places for controller in path.name.split(",")}
    if missing := [name for name in _NEEDED if name not in found]:
        raise LabError(f"{ROOT} has no controller {', '.join(missing)}")
    return list(dict.fromkeys(path.resolve() for path in places))


def make(name: str) -> list[Path]:
    """Make the group in every hierarchy; where it, or the first part of its name, is then or will be.

    Beside version 1 there may be an empty hierarchy of version 2, in which runc makes the group itself.

    Raises:
        LabError: as `hierarchies`.
        OSError: the kernel refused it.
    """
    made = []
    for place in hierarchies():
        group = place
        for part in Path(name).parts:
            if is_unified():
                _enable_controllers(group)
            group = group / part
            group.mkdir(exist_ok=True)
            _inherit(group)
        made.append(place / Path(name).parts[0])
        _weigh(made[-1])
    beside = ROOT / "unified"
    return [*made, beside / Path(name).parts[0]] if beside.is_dir() else made


def _inherit(group: Path) -> None:
    """In version 1 a new group has no processors and no memory until it is given its parent's."""
    for name in _INHERITED:
        file = group / name
        if not is_unified() and file.exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())


def _weigh(group: Path) -> None:
    """Give all pods together the weight of a few programs: on a busy machine they would starve as one."""
    for name, weight in (("cpu.shares", 8192), ("cpu.weight", 800)):
        if (group / name).exists():
            (group / name).write_text(f"{weight}\n")


def _enable_controllers(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in available))
