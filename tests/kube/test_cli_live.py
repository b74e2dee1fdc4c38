"""The live view in a real terminal, kubectl with the plugin, and completion in a real shell."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelab import tools
from edgelab.controlplane import ControlPlane
from edgelab.ports import free_port
from tests.kube.cli_lab import NAME, Site, environment, site_on
from tests.unit.cli.tiny_terminal import TinyTerminal
from tests.unit.rollout.fleet_play import BAD

DEADLINE = 120.0
PROGRAM = (sys.executable, "-m", "edgecanary")


@pytest.fixture
def site(control_plane: ControlPlane, namespace: str) -> Iterator[Site]:
    """A rollout that bakes in its first step."""
    with site_on(control_plane, namespace) as found:
        found.release("2.0.0")
        found.publish()
        yield found


class Terminal:
    """A program on a terminal of its own, and what is on the screen."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.screen = TinyTerminal(120)
        self.raw = ""
        pid, self._file = pty.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                os.execvpe(command[0], command, environ)  # noqa: S606 - the child of a fork
            os._exit(127)
        self._pid = pid
        subprocess.run(["stty", "rows", "60", "cols", "120"], stdin=self._file, check=True)

    def until(self, wanted: str, *, emulated: bool = True) -> None:
        """Reads until the text is there."""
        end = time.monotonic() + DEADLINE
        while wanted not in (self.screen.shown if emulated else self.raw):
            assert time.monotonic() < end, f"no {wanted!r} in {self.screen.shown if emulated else self.raw!r}"
            if select.select([self._file], [], [], 1.0)[0]:
                text = os.read(self._file, 2**16).decode(errors="replace")
                self.raw += text
                if emulated:
                    self.screen.feed(text)

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self._file, text.encode())

    def completes(self, typed: str, wanted: str) -> None:
        """Types the text and a tab, and waits for what a shell makes of it."""
        self.type(f"{typed}\t")
        self.until(wanted, emulated=False)

    def end(self) -> int:
        """The exit code; reads what is left."""
        with contextlib.suppress(OSError):
            while text := os.read(self._file, 2**16).decode(errors="replace"):
                self.raw += text
                self.screen.feed(text)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        """Ends the program."""
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._file)


def watching(site: Site, *flags: str) -> list[str]:
    where = ["-n", site.namespace, "--system-namespace", site.namespace]
    return [*PROGRAM, "rollout", "watch", NAME, *where, *flags]


class TestOnATerminal:
    def test_the_picture_changes_in_its_place_and_ctrl_c_is_quiet(self, site: Site) -> None:
        environ = environment(site.plane.kubeconfig(), TERM="xterm-256color")
        terminal = Terminal(watching(site), environ)
        try:
            terminal.until("hardware=cpu")
            assert terminal.screen.cursor is False
            terminal.until("◌ Baking")
            site.annotate("promote", "go")
            site.act()
            terminal.until("✔  first")
            terminal.until("◌  quarter")
            assert terminal.screen.shown.count("Rollout    ") == 1, "drawn in its place"
            terminal.type("\x03")
            assert terminal.end() == 130
        finally:
            terminal.close()
        assert [terminal.screen.cursor] == [True]
        assert "Traceback" not in terminal.raw
        assert "\x1b[3" in terminal.raw, "in colour"


class TestIntoAPipe:
    def test_each_change_is_a_block_and_the_end_ends_it(self, site: Site) -> None:
        site.stage.accuracy = BAD
        command = watching(site, "--exit-on-end")
        process = self.start(site, command)
        assert process.stdout is not None
        blocks = self.read_until(process, "Baking")
        site.stage.play(60)
        site.publish_status()
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 4, err
        assert "✖ RolledBack" in out
        assert "\x1b" not in blocks + out
        assert " ago)" not in blocks + out

    def test_a_watch_that_breaks_is_told_and_goes_on(self, site: Site) -> None:
        process = self.start(site, watching(site, "--exit-on-end"))
        self.read_until(process, "Baking")
        site.plane.stop_api_server(kill=True)
        assert process.stderr is not None
        assert "the watch broke" in process.stderr.readline()
        site.plane.start()
        site.stage.annotate("promote", "full-1")
        site.stage.play(60)
        site.publish_status()
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, err
        assert "✔ Promoted" in out
        assert "the watch goes on" in err

    @staticmethod
    def start(site: Site, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            env=environment(site.plane.kubeconfig()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def read_until(process: "subprocess.Popen[str]", wanted: str) -> str:
        """What the program prints up to the end of the block with that text."""
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if wanted in text and line == "\n" and "SAYS" in text:
                return text
        raise AssertionError(f"ended without {wanted}: {text}")


class TestKubectl:
    def kubectl(self, site: Site, *words: str) -> "subprocess.CompletedProcess[str]":
        environ = environment(site.plane.kubeconfig(namespace=site.namespace))
        return subprocess.run(
            [str(tools.kubectl()), *words], env=environ, capture_output=True, text=True, check=False
        )

    def test_the_plugin_runs_under_kubectl_with_its_context_and_exit_codes(self, site: Site) -> None:
        listed = self.kubectl(site, "edgecanary", "list")
        assert listed.returncode == 0, listed.stderr
        assert NAME in listed.stdout
        refused = self.kubectl(site, "edgecanary", "-n", site.namespace, "retry", NAME)
        assert refused.returncode == 6
        assert "NothingToRetry" in refused.stderr
        usage = self.kubectl(site, "edgecanary", "promote")
        assert usage.returncode == 2
        assert "usage: kubectl edgecanary rollout promote" in usage.stderr

    def test_kubectl_completes_the_plugin(self, site: Site) -> None:
        for words, wanted in (
            (("edgecanary", "get", ""), NAME),
            (("edgecanary", "prom"), "promote"),
            (("edgecanary", "rollout", "list", "-o", "j"), "json"),
        ):
            told = self.kubectl(site, "__complete", *words)
            assert wanted in [line.split("\t")[0] for line in told.stdout.splitlines()], told


class TestBash:
    def test_tab_completes_commands_and_names_from_the_cluster(self, site: Site, tmp_path: Path) -> None:
        environ = environment(site.plane.kubeconfig(namespace=site.namespace), TERM="dumb", PS1="$ ")
        terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], environ)
        try:
            terminal.type("source <(edgecanary completion bash); echo rea''dy\n")
            terminal.until("ready", emulated=False)
            terminal.completes("edgecanary roll", "edgecanary rollout ")
            terminal.completes("get pu", "edgecanary rollout get pump ")
            terminal.completes("\x15edgecanary rollout wait pump --for=step=q", "--for=step=quarter")
        finally:
            terminal.close()


class TestZsh:
    def test_tab_completes_commands_and_names_from_the_cluster(self, site: Site, tmp_path: Path) -> None:
        zsh = tools.shell("zsh")
        (tmp_path / ".zshenv").write_text(zsh.zshenv)
        (tmp_path / ".zshrc").write_text(
            "PS1='$ '; autoload -Uz compinit; compinit -u -D; source <(edgecanary completion zsh); echo rea''dy\n"
        )
        config = site.plane.kubeconfig(namespace=site.namespace)
        terminal = Terminal([str(zsh.program), "-i"], environment(config, TERM="dumb", ZDOTDIR=str(tmp_path)))
        try:
            terminal.until("ready", emulated=False)
            terminal.completes("edgecanary roll", "edgecanary rollout ")
            terminal.completes("get pu", "get pump ")
        finally:
            terminal.close()


class TestFish:
    @staticmethod
    def offered(site: Site, line: str) -> list[str]:
        """What fish would offer for the command line, without the descriptions."""
        fish = tools.shell("fish")
        environ = environment(site.plane.kubeconfig(namespace=site.namespace))
        environ |= {"LD_LIBRARY_PATH": str(fish.libraries)} if fish.libraries else {}
        told = subprocess.run(
            [str(fish.program), "--no-config", "-c", f"edgecanary completion fish | source; complete -C'{line}'"],
            env=environ, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [found.split("\t")[0] for found in told.stdout.splitlines()]

    def test_commands_names_from_the_cluster_and_files_are_offered(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "rollout.yaml").touch()
        assert self.offered(site, "edgecanary roll") == ["rollout"]
        assert self.offered(site, "edgecanary rollout get pu") == [NAME]
        assert self.offered(site, f"edgecanary rollout plan -f {tmp_path}/ro") == [f"{tmp_path}/rollout.yaml"]


class TestWithoutACluster:
    def test_without_a_cluster_there_is_nothing_to_offer_and_no_word_of_it(
        self, site: Site, tmp_path: Path
    ) -> None:
        config = tmp_path / "config"
        text = site.plane.kubeconfig().read_text()
        config.write_text(re.sub(rf"127\.0\.0\.1:{site.plane.port}", f"127.0.0.1:{free_port()}", text))
        told = subprocess.run(
            [*PROGRAM, "__complete", "rollout", "get", ""],
            env=environment(config),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (told.returncode, told.stdout, told.stderr) == (0, ":4\n", "")
