"""Where a server of the lab runs."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a server runs: by default in this process's own network, on the loopback interface.

    Attributes:
        enter: words before the program's own, which bring it to its place.
        listen: the address that it listens on.
        address: where clients in its network reach it.
    """

    enter: Sequence[str] = ()
    listen: str = "127.0.0.1"
    address: str = "127.0.0.1"


HERE = Place()
