"""Rules for devices that a Rollout declares and a ModelRelease carries to the nodes."""

from typing import Annotated

from pydantic import Field

from edgecanary.api.fields import ApiModel, Rule, patterned, validations


def _cron_field(values: str) -> str:
    item = rf"(\*|({values})(-({values}))?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


_CRON_FIELDS = (
    r"[0-5]?[0-9]",
    r"[01]?[0-9]|2[0-3]",
    r"0?[1-9]|[12][0-9]|3[01]",
    r"0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC",
    r"[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT",
)
"""What minute, hour, day of the month, month and day of the week may be."""

CronSchedule = Annotated[
    str,
    patterned(
        "^" + " ".join(_cron_field(values) for values in _CRON_FIELDS) + "$",
        "must be a cron expression of five fields (minute hour day month weekday), such as 0 2 * * 1-5",
        max_length=128,
    ),
]
"""A cron expression of five fields with `*`, numbers, ranges, lists and steps; months and days of the week
also by their three letters in capitals."""

TimeZone = Annotated[
    str,
    patterned(
        r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        "must be an IANA time zone, such as Europe/Berlin",
        max_length=64,
    ),
]


class UpdateWindow(ApiModel):
    """A recurring span of time in which nodes may switch revisions, by the node's clock."""

    schedule: CronSchedule = Field(
        description="When the window opens, as a cron expression of five fields, such as `0 2 * * 1-5`."
    )
    duration_seconds: int = Field(
        ge=60, le=604_800, description="How long the window stays open, in seconds."
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="IANA time zone of the schedule, such as Europe/Berlin.",
        json_schema_extra=validations(
            Rule(
                "self != 'Local' && timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
                "must be an IANA time zone that exists",
            )
        ),
    )


class DeviceHealth(ApiModel):
    """What a node tolerates of the revision that it runs, on trial and later; beyond it the node goes back."""

    soak_seconds: int = Field(
        default=60, ge=0, le=604_800, description="How long a new revision is on trial on a node, in seconds."
    )
    max_crashes: int = Field(
        default=2,
        ge=0,
        le=100,
        description="Deaths of the agent by the revision that are tolerated; an hour without one clears the count.",
    )
    max_error_percent: int = Field(
        default=5,
        ge=0,
        le=100,
        description=(
            "Share of failed requests tolerated, in percentage points above what the revision before it failed on "
            "the node."
        ),
    )
    max_not_finite_percent: int = Field(
        default=1,
        ge=0,
        le=100,
        description=(
            "Share of answers with values that are not finite (NaN, infinity) for finite inputs tolerated, in "
            "percentage points above that of the revision before it."
        ),
    )
    max_latency_increase_percent: int = Field(
        default=400,
        ge=1,
        le=100_000,
        description=(
            "How much the p95 latency may grow over that of the revision before it on the same node, in percent; "
            "400 allows five times as long. A p95 of less than 5 ms is never too slow."
        ),
    )


Priority = Annotated[int, Field(ge=-1000, le=1000)]
"""Which model stays in a node's memory when not all fit: the higher one."""

PRIORITY = (
    "Which model a node keeps in memory when its budget does not hold all: the one with the higher priority. "
    "A model never displaces one of the same or a higher priority."
)
