"""Reads what the device is like: power supplies and thermal zones in sysfs, and what the application says.

A value that is missing or makes no sense is unknown; what follows from that is decided in `preconditions`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecanary.agent.preconditions import Conditions, Hold, Readings
from edgecanary.base.errors import Unavailable
from edgecanary.clients.localhook import LocalHook

_PLAUSIBLE_CELSIUS = range(-60, 200)
_MAX_TEXT = 200
_NO = ("", "0", "no", "false")
_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class Places:
    """Where to look."""

    sys_root: Path = Path("/sys")
    metered_file: Path | None = None
    """The link is metered while this file is there and does not say 0, no or false."""
    hold_file: Path | None = None
    """The application says "not now" while this file is there."""
    hold_hook: LocalHook | None = None
    """The application answers with 2xx, or with 4xx or 503 for "not now"."""


def read_link(places: Places) -> Readings:
    """What is to be known before something is fetched."""
    return Readings(metered=_metered(places.metered_file) if places.metered_file else None)


def read_device(conditions: Conditions, places: Places) -> Readings:
    """What is to be known before a switch; blocks for as long as the hook may take."""
    supplies = list(_supplies(places.sys_root)) if conditions.needs_power else []
    hot = conditions.max_temperature_celsius is not None
    return Readings(
        mains=_mains(supplies),
        battery_percent=_charge(supplies),
        temperature_celsius=_temperature(places.sys_root) if hot else None,
        hold=_hold(places),
    )


@dataclass(frozen=True)
class _Supply:
    """One entry of /sys/class/power_supply."""

    battery: bool
    online: int | None
    capacity: int | None
    status: str


def _supplies(sys_root: Path) -> Iterator[_Supply]:
    for folder in _folders(sys_root / "class/power_supply", "*"):
        if _word(folder / "scope") == "Device" or _word(folder / "present") == "0":
            continue  # a mouse's battery, or an empty slot
        kind = _word(folder / "type")
        if not kind:
            continue
        yield _Supply(
            battery=kind in ("Battery", "UPS"),
            online=_number(folder / "online"),
            capacity=_number(folder / "capacity"),
            status=_word(folder / "status"),
        )


def _mains(supplies: list[_Supply]) -> bool | None:
    """Whether any supply but a battery gives power; where none says so, what the batteries do."""
    online = [supply.online for supply in supplies if not supply.battery and supply.online is not None]
    if online:
        return any(value >= 1 for value in online)
    states = {supply.status for supply in supplies if supply.battery}
    if "Discharging" in states:
        return False
    return True if states & {"Charging", "Full", "Not charging"} else None


def _charge(supplies: list[_Supply]) -> int | None:
    """The charge of the emptiest battery; one whose value makes no sense makes it unknown."""
    found = [supply.capacity for supply in supplies if supply.battery]
    if not found or any(value is None or not 0 <= value <= 100 for value in found):
        return None
    return min(value for value in found if value is not None)


def _temperature(sys_root: Path) -> float | None:
    """The hottest zone; zones without a plausible value are left out."""
    found = [_number(folder / "temp") for folder in _folders(sys_root / "class/thermal", "thermal_zone*")]
    plausible = [value / 1000 for value in found if value is not None and value // 1000 in _PLAUSIBLE_CELSIUS]
    return max(plausible, default=None)


def _metered(path: Path) -> bool | None:
    try:
        return _text(path).lower() not in _NO
    except _GONE:
        return False
    except OSError:
        return None


def _hold(places: Places) -> Hold | None:
    if places.hold_file is not None:
        try:
            return Hold(_text(places.hold_file) or f"{places.hold_file} is there")
        except _GONE:
            pass
        except OSError as error:
            return Hold(f"{places.hold_file}: cannot be read: {error.strerror}", answered=False)
    return None if places.hold_hook is None else _asked(places.hold_hook)


def _asked(hook: LocalHook) -> Hold | None:
    try:
        answer = hook.call("GET")
    except Unavailable as error:
        return Hold(error.message, answered=False)
    if answer.good:
        return None
    if answer.status in (403, 409, 423, 425, 429, 503):
        return Hold(answer.text[:_MAX_TEXT])
    return Hold(
        f"the hook {hook.url} answered {answer.status}, which is neither yes nor not now", answered=False
    )


def _folders(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _text(path: Path) -> str:
    """The beginning of a file. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_MAX_TEXT).decode(errors="replace").strip()


def _word(path: Path) -> str:
    try:
        return _text(path)
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_word(path))
    except ValueError:
        return None
