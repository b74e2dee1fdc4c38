"""Rules for a Rollout's spec that its schema cannot say, checked before anything is planned."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgecanary.analysis.presets import check_comparison
from edgecanary.api.rollout import RolloutSpec
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.windows import parse_schedule


def check_rollout(spec: RolloutSpec) -> None:
    """Raises InvalidInput naming the first field that breaks a rule."""
    for index, window in enumerate(spec.update_windows):
        parse_schedule(window.schedule, field=f"spec.updateWindows[{index}].schedule")
        _check_time_zone(f"spec.updateWindows[{index}].timeZone", window.time_zone)
    for index, metric in enumerate(spec.analysis.metrics if spec.analysis else ()):
        check_comparison(metric, field=f"spec.analysis.metrics[{index}]")


def _check_time_zone(field: str, name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(field, f"must be an IANA time zone such as Europe/Berlin, got {name!r}") from error
