"""The flags of `edgecanary agent` that say how models are served."""

import argparse

from edgecanary.agent.serving.settings import BatchSettings, ServingSettings, ShadowSettings
from edgecanary.base.errors import InvalidInput
from edgecanary.cli.flags import Flags

_MAX_DELAY_MILLISECONDS = 1000.0
_DEFAULTS = ServingSettings()


def add_flags(flags: Flags) -> None:
    """Adds them."""
    flags.count(
        "--max-requests",
        default=_DEFAULTS.max_in_flight,
        help="inference requests in progress on the node; beyond it the answer is 503",
    )
    flags.count(
        "--max-requests-per-model",
        default=_DEFAULTS.max_in_flight_per_model,
        help="inference requests in progress for one model; beyond it the answer is 503",
    )
    flags.seconds(
        "--request-seconds",
        default=_DEFAULTS.request_seconds,
        help="for a model to answer; one that takes longer is interrupted (504)",
    )
    flags.seconds(
        "--drain-seconds",
        default=_DEFAULTS.stop_seconds,
        help="for requests in progress to end when the agent stops",
    )
    flags.count(
        "--batch-max-size",
        default=_DEFAULTS.batch.max_size,
        help="rows of requests to one model that are run together; 1 runs each request by itself",
    )
    flags.number(
        "--batch-max-delay-milliseconds",
        default=1000 * _DEFAULTS.batch.max_delay_seconds,
        maximum=_MAX_DELAY_MILLISECONDS,
        help="how long a request waits for others to be run with",
        metavar="MILLISECONDS",
    )
    flags.number(
        "--shadow-percent",
        default=_DEFAULTS.shadow.percent,
        maximum=100.0,
        help="share of the requests that the previous revision sees as well, to compare the answers",
        metavar="PERCENT",
    )


def to_settings(options: argparse.Namespace) -> ServingSettings:
    """The settings that the flags mean. Raises InvalidInput naming the flag."""
    delay, size = options.batch_max_delay_milliseconds, options.batch_max_size
    if delay and size == 1:
        raise InvalidInput("--batch-max-delay-milliseconds", "must be 0 unless --batch-max-size is 2 or more")
    return ServingSettings(
        max_in_flight=options.max_requests,
        max_in_flight_per_model=options.max_requests_per_model,
        request_seconds=options.request_seconds,
        stop_seconds=options.drain_seconds,
        batch=BatchSettings(size, delay / 1000),
        shadow=ShadowSettings(options.shadow_percent),
    )
