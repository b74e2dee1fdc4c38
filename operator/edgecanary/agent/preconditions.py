"""What the device itself must be like before an update is fetched or switched to. Pure.

A value that a condition needs and that nobody knows holds the update: nothing is done on a guess. The reason
says so, in the node's report, so that a broken sensor or hook is seen.
"""

from dataclasses import dataclass, field

from edgecanary.base.quantities import human_seconds

LOOK_AGAIN_SECONDS = 30.0
"""How often a condition that holds is looked at again."""


@dataclass(frozen=True)
class Conditions:
    """What the node's owner asks for. The link's is for downloads, the others are for the switch."""

    require_mains: bool = False
    min_battery_percent: int | None = None
    """Or mains power."""
    max_temperature_celsius: int | None = None
    asks_for_link: bool = False
    """Nothing is fetched over a metered link."""
    asks_application: bool = False
    """The application may say "not now", by a file or a hook."""
    windows_hold_downloads: bool = False
    """The update windows of a release hold downloads too."""

    @property
    def needs_power(self) -> bool:
        """Whether the power supply has to be looked at."""
        return self.require_mains or self.min_battery_percent is not None


@dataclass(frozen=True)
class Hold:
    """The application's word: not now; or that it gave none that can be understood."""

    message: str
    answered: bool = True


@dataclass(frozen=True)
class Readings:
    """What the device is like now. None is what cannot be known."""

    mains: bool | None = None
    battery_percent: int | None = None
    temperature_celsius: float | None = None
    metered: bool | None = None
    hold: Hold | None = None


@dataclass(frozen=True)
class Held:
    """Why an update waits, and how long until it is worth looking again."""

    reason: str
    message: str
    wait_seconds: float = field(default_factory=lambda: LOOK_AGAIN_SECONDS)


def holds_download(conditions: Conditions, readings: Readings) -> Held | None:
    """What keeps a revision from being fetched."""
    if not conditions.asks_for_link or readings.metered is False:
        return None
    if readings.metered is None:
        return Held("LinkUnknown", "whether the link is metered cannot be read; see --metered-file")
    return Held("Metered", "the link is metered, which --metered-file says; it is fetched over another one")


def holds_activation(conditions: Conditions, readings: Readings) -> Held | None:
    """What keeps a revision that is ready from being switched to."""
    return (
        _application(conditions, readings)
        or _power(conditions, readings)
        or _temperature(conditions, readings)
    )


def _application(conditions: Conditions, readings: Readings) -> Held | None:
    hold = readings.hold if conditions.asks_application else None
    if hold is None:
        return None
    if not hold.answered:
        again = human_seconds(LOOK_AGAIN_SECONDS)
        return Held("HoldUnanswered", f"{hold.message}; it is asked again every {again}, repair or remove it")
    return Held("HeldByApplication", f"the application says: not now ({hold.message or 'no reason given'})")


def _power(conditions: Conditions, readings: Readings) -> Held | None:
    if not conditions.needs_power or readings.mains:
        return None
    least, percent = conditions.min_battery_percent, readings.battery_percent
    if conditions.require_mains:
        if readings.mains is None:
            return Held(
                "PowerUnknown", "no power supply says whether the device is on mains (--require-mains)"
            )
        return Held("OnBattery", f"on battery{_charge(percent)}, --require-mains asks for mains power")
    if least is None or (percent is not None and percent >= least):
        return None
    if percent is None:
        return Held("PowerUnknown", "no battery says how much charge it has (--min-battery-percent)")
    return Held(
        "OnBattery", f"on battery{_charge(percent)}, --min-battery-percent asks for {least} % or mains"
    )


def _temperature(conditions: Conditions, readings: Readings) -> Held | None:
    most, now = conditions.max_temperature_celsius, readings.temperature_celsius
    if most is None or (now is not None and now <= most):
        return None
    if now is None:
        return Held("TemperatureUnknown", "no thermal zone has a plausible value (--max-temperature-celsius)")
    return Held("TooHot", f"{now:.1f} °C, --max-temperature-celsius allows {most} °C")


def _charge(percent: int | None) -> str:
    return "" if percent is None else f" at {percent} %"
