"""Say what takes long while it goes on, on standard error."""

import contextlib
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgelab.errors import LabError
from edgelab.paths import cache_folder

_EVERY_SECONDS = 20.0


def say(text: str) -> None:
    """One line to the person who waits."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def reporting(what: str) -> Iterator[None]:
    """Print `what` now, a line with the time gone every 20 s, and one at the end."""
    start = time.monotonic()
    done = threading.Event()

    def report() -> None:
        while not done.wait(_EVERY_SECONDS):
            say(f"  {what}: {_clock(start)} so far")

    say(f"{what} …")
    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        done.set()
        reporter.join()
        say(f"{what}: {outcome} after {_clock(start)}")


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, without input and without showing its output.

    Raises:
        LabError: its exit code was not 0; the message holds the end of its output.
    """
    result = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        words = (result.stderr + result.stdout).strip()[-2_000:]
        raise LabError(f"`{' '.join(command)}` ended with exit code {result.returncode}:\n{words}")


@contextlib.contextmanager
def only_one(what: str) -> Iterator[None]:
    """Let one process at a time make `what`; the others wait, then find it made."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with reporting(f"waiting for another process that gets {what}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clock(start: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    return f"{minutes}:{seconds:02}"
