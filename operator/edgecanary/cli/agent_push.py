"""The agent's flags for remote write."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.base.quantities import parse_bytes
from edgecanary.cli.flags import Flags
from edgecanary.clients.nodeaccess import Blob

if TYPE_CHECKING:
    from edgecanary.agent.push.settings import PushSettings


def add_flags(flags: Flags) -> None:
    """Where to, as whom, and what may wait."""
    flags.text(
        "--remote-write", default=None, help="where metrics are pushed to by remote write", metavar="URL"
    )
    flags.text("--remote-write-token-file", default=None, help="bearer token for it", metavar="FILE")
    flags.text("--remote-write-user", default=None, help="user name for it", metavar="NAME")
    flags.text("--remote-write-password-file", default=None, help="the user's password", metavar="FILE")
    flags.text("--remote-write-ca-file", default=None, help="certificates to trust for it", metavar="FILE")
    flags.many("--remote-write-label", help="added to every series; may be repeated", metavar="NAME=VALUE")
    flags.seconds("--remote-write-seconds", default=30.0, help="how often metrics are collected for it")
    flags.text(
        "--remote-write-max-bytes", default="64Mi", help="what may wait on disk for it", metavar="QUANTITY"
    )
    flags.seconds("--remote-write-max-age-seconds", default=86400.0, help="older samples are not sent")


def to_settings(options: argparse.Namespace) -> "PushSettings | None":
    """The settings that the flags mean; None without an address. Raises InvalidInput naming the flag."""
    if not options.remote_write:
        return None
    from edgecanary.agent.push import settings as push  # noqa: PLC0415 - only agents that push pay for it
    from edgecanary.clients.remotewrite import WriteTarget  # noqa: PLC0415

    target = WriteTarget(
        url=options.remote_write,
        token=_blob(options.remote_write_token_file),
        user=options.remote_write_user,
        password=_blob(options.remote_write_password_file),
        authority=_blob(options.remote_write_ca_file),
    )
    return push.PushSettings(
        target,
        interval_seconds=options.remote_write_seconds,
        max_bytes=parse_bytes(options.remote_write_max_bytes, field="--remote-write-max-bytes"),
        max_age_seconds=options.remote_write_max_age_seconds,
        labels=push.parse_labels(options.remote_write_label or ()),
    )


def _blob(text: str | None) -> Blob | None:
    return Blob(path=Path(text)) if text else None
