"""Child processes that log to files, say why they failed, and never outlive their session.

A `Supervisor` is one session. Next to it runs one reaper process (`edgelab.reaper`) that kills
whatever is left when the session dies, be it by Ctrl-C or by signal 9. A child does not start
its program before the reaper knows its process group, so there is no gap.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from edgelab.errors import LabError, ProcessError
from edgelab.paths import ROOT
from edgelab.reaper import CONTROL_GROUP, FOLDER, MARK

_LAUNCH = 'read -r _ || exit 125; exec "$@" </dev/null'
"""Shell words that hold a program back until a line arrives; at the pipe's end they give up."""

_TAIL_BYTES = 4_000


class Process:
    """A running program, the leader of its own process group. Made by `Supervisor.start`."""

    def __init__(
        self,
        name: str,
        popen: subprocess.Popen[bytes],
        log_path: Path,
        on_end: Callable[["Process"], None],
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._popen = popen
        self._on_end = on_end

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program still runs (a paused one does)."""
        if self._popen.returncode is not None:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number when a signal ended it, None while it runs."""
        if not self.running:
            self._bury()
        return self._popen.returncode

    def log_tail(self) -> str:
        """The end of the log: at most 4,000 bytes."""
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace")

    def wait_ready(self, ready: Callable[[], bool], *, timeout: float = 60.0) -> None:
        """Wait until `ready` answers True, for at most `timeout` seconds.

        Raises:
            ProcessError: the program ended, or was not ready in time.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise self._failure(f"ended with exit code {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready within {timeout:g} s")
            time.sleep(0.05)

    def wait(self, *, timeout: float) -> int:
        """Wait for the program to end by itself; its exit code.

        Raises:
            ProcessError: it still runs after `timeout` seconds.
        """
        if not self._ends_within(timeout):
            raise self._failure(f"still runs after {timeout:g} s")
        self._bury()
        return self._popen.returncode

    def stop(self, *, grace: float = 10.0) -> int:
        """Ask the program to end, kill its group after `grace` seconds; its exit code."""
        if self.running:
            self.signal(signal.SIGTERM)
            self.resume()
            self._ends_within(grace)
        return self.kill()

    def kill(self) -> int:
        """Kill the program and its process group with signal 9; its exit code."""
        if self._popen.returncode is None:
            self.signal(signal.SIGKILL)
            self._bury()
        return self._popen.returncode

    def pause(self) -> None:
        """Freeze the whole process group (SIGSTOP): it keeps its sockets and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group; nothing happens when it has ended."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _bury(self) -> None:
        """Kill what is left of the group, then collect the leader and free its id.

        In this order the id cannot have gone to a stranger in between.
        """
        if self._popen.returncode is not None:
            return
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._on_end(self)

    def _failure(self, what: str) -> ProcessError:
        return ProcessError(f"{self.name} {what}; the end of {self.log_path}:\n{self.log_tail()}")


class Supervisor:
    """Starts processes and answers for their end. Use it as a context manager.

    Args:
        log_dir: folder for one log file per process, made when needed; a process that is
            started again under the same name appends to its log.
    """

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._session = uuid.uuid4().hex
        self._reaper: subprocess.Popen[str] | None = None
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a program with no standard input and its output in `<log_dir>/<name>.log`.

        Args:
            name: what it is called in messages, and its log's file name.
            command: the program and its arguments.
            env: variables in addition to this process's environment.
            cwd: working directory; this process's when left out.

        Raises:
            LabError: the program does not exist, or the reaper is gone.
        """
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log_path = self.log_dir / f"{name}.log"
        environment = {**os.environ, **(env or {}), MARK: self._session}
        arguments = [str(word) for word in command]
        if shutil.which(arguments[0]) is None:
            raise LabError(f"{name}: there is no program {arguments[0]}")
        with log_path.open("ab") as log:
            log.write(f"$ {' '.join(arguments)}\n".encode())
            log.flush()
            popen = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, name, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        process = Process(name, popen, log_path, self._forget)
        self._processes.append(process)
        self._note(f"+{process.pid}")
        assert popen.stdin is not None
        with contextlib.closing(popen.stdin) as gate:
            gate.write(b"\n")
        return process

    def leave_no_control_group(self, path: Path) -> None:
        """Have a control group removed when the session has ended, with whoever is in it.

        Raises:
            LabError: the reaper is gone.
        """
        self._note(f"{CONTROL_GROUP}{path}")

    def leave_no_folder(self, path: Path) -> None:
        """Have a folder removed when the session has ended; errors as in `leave_no_control_group`."""
        self._note(f"{FOLDER}{path}")

    def close(self) -> None:
        """Stop every process, the youngest first, and the reaper."""
        for process in reversed(self._processes.copy()):
            process.stop()
        if self._reaper is not None:
            with contextlib.suppress(BrokenPipeError):
                self._pipe().close()
            self._reaper.wait()
            self._reaper = None

    def _forget(self, process: Process) -> None:
        self._processes.remove(process)
        with contextlib.suppress(LabError):
            self._note(f"-{process.pid}")

    def _note(self, line: str) -> None:
        if self._reaper is None:
            self._reaper = self._start_reaper()
        try:
            self._pipe().write(line + "\n")
            self._pipe().flush()
        except BrokenPipeError as error:
            raise LabError(f"{line}: the lab's reaper is gone, so processes could be left behind") from error

    def _pipe(self) -> IO[str]:
        assert self._reaper is not None
        assert self._reaper.stdin is not None
        return self._reaper.stdin

    def _start_reaper(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        environment["PYTHONPATH"] = str(ROOT / "hack")
        return subprocess.Popen(
            [sys.executable, "-m", "edgelab.reaper", self._session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            start_new_session=True,
        )
