"""Tells systemd how the agent is: ready, alive, stopping. Without systemd nothing is said.

One datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)). The signs of life are sent by the event
loop itself, so that a loop that hangs is ended and started anew by WatchdogSec.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

_SIGNS = 3
"""Signs of life in the time after which the watchdog ends the process."""


class ServiceManager:
    """The way to the service manager that started this process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._seconds = _watchdog_seconds(environ)

    def ready(self) -> None:
        """The agent serves what it has."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The agent is about to end by itself."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Sends signs of life for as long as the event loop runs, where the manager waits for them."""
        while self._seconds > 0:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._seconds / _SIGNS)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("the service manager at %s cannot be told %s: %s", self._address, text, error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Seconds within which this process has to show life; 0 when nobody waits for it."""
    meant = environ.get("WATCHDOG_PID", str(os.getpid()))
    microseconds = environ.get("WATCHDOG_USEC", "")
    if meant != str(os.getpid()) or not microseconds.isdecimal():
        return 0.0
    return int(microseconds) / 1e6
