"""`edgecanary agent install` and `uninstall`: the agent as a service of the host (systemd)."""

import argparse
import contextlib
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecanary.agent.files import write_atomic
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.base.quantities import parse_bytes
from edgecanary.cli import agent_unit
from edgecanary.cli.agent_unit import NAME, SETTINGS_FILE, STATE_DIRECTORY, UNIT_FILE, UnitChoices
from edgecanary.cli.flags import Flags, variable

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_HIDDEN = (Path("/root"), Path("/home"), Path("/run/user"), Path("/tmp"))  # noqa: S108
"""Folders that the unit hides from the service."""
_PATH_FLAGS = (
    "--data-dir",
    "--kubeconfig",
    "--token-file",
    "--ca-file",
    "--download-ca-file",
    "--tenancy-file",
    "--trust-root",
    "--metered-file",
    "--hold-file",
    "--sys-root",
    "--remote-write-token-file",
    "--remote-write-password-file",
    "--remote-write-ca-file",
)

AddFlags = Callable[[Flags], None]


@dataclass(frozen=True)
class Change:
    """One file and what is to be in it; None when it is to go."""

    path: Path
    text: str | None


def add_parsers(parser: argparse.ArgumentParser) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Adds the two subcommands; what further ones are added to."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    install = actions.add_parser("install", help="write a systemd unit for the agent", description=__doc__)
    _add_places(install)
    install.add_argument("--user", default="edgecanary", help="user that the agent runs as", metavar="NAME")
    install.add_argument("--memory-max", help="the most memory that the service may take", metavar="QUANTITY")
    install.add_argument("--program", help="the program that the unit starts", metavar="FILE")
    install.add_argument("--print", action="store_true", dest="dry_run", help="show the files, write nothing")
    install.add_argument("--dry-run", action="store_true", help="the same as --print")
    install.add_argument("--start", action="store_true", help="enable and start the service, too")
    install.add_argument(
        "agent_flags", nargs=argparse.REMAINDER, help="the agent's own flags, after --", metavar="-- FLAGS"
    )
    uninstall = actions.add_parser("uninstall", help="remove the unit", description=__doc__)
    _add_places(uninstall)
    uninstall.add_argument("--stop", action="store_true", help="stop and disable the service first")
    return actions


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unit-dir", default="/etc/systemd/system", help="where units are", metavar="DIR")
    parser.add_argument("--config-dir", default="/etc/edgecanary", help="where settings are", metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace or remove files that were edited")


def run(options: argparse.Namespace, add_flags: AddFlags) -> int:
    """Installs or uninstalls; returns the exit code. `add_flags` adds the agent's own flags."""
    if options.action == "uninstall":
        return _uninstall(options)
    return _install(options, add_flags)


def _install(options: argparse.Namespace, add_flags: AddFlags) -> int:
    given = [word for word in options.agent_flags if word != "--"]
    settings = _settings(given, add_flags)
    unit, config = Path(options.unit_dir) / UNIT_FILE, Path(options.config_dir) / SETTINGS_FILE
    changes = [Change(config, agent_unit.settings_text(settings))]
    present = _read(config)
    if present is not None and not given:
        # The settings that a node has, by hand or not, are its own until others are given.
        settings, changes = agent_unit.settings_in(present), []
    _check_paths(settings)
    choices = UnitChoices(
        command=(*_program(options.program), "agent"),
        user=_user(options.user),
        settings=str(config),
        data_dir=settings.get(variable("--data-dir"), STATE_DIRECTORY),
        memory_max=_memory(options.memory_max),
        systemd_version=_systemd_version(),
    )
    changes.append(Change(unit, agent_unit.unit_text(choices)))
    if options.dry_run:
        sys.stdout.write("\n".join(f"# {change.path}\n{change.text}" for change in changes))
        return 0
    _apply(changes, force=options.force)
    _finish(_steps_to_start(choices, settings), doing=options.start)
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    unit, config = Path(options.unit_dir) / UNIT_FILE, Path(options.config_dir) / SETTINGS_FILE
    if options.stop:
        _finish([["systemctl", "disable", "--now", NAME]], doing=True)
    elif unit.exists():
        sys.stdout.write(f"If the service still runs: systemctl disable --now {NAME}\n")
    _apply([Change(unit, None), Change(config, None)], force=options.force)
    with contextlib.suppress(OSError):
        config.parent.rmdir()
    _finish([["systemctl", "daemon-reload"]], doing=options.stop)
    sys.stdout.write("The models stay in the data directory.\n")
    return 0


def _settings(given: Sequence[str], add_flags: AddFlags) -> dict[str, str]:
    """The agent's flags as variables, those with their defaults left out."""
    parser = argparse.ArgumentParser(prog="edgecanary agent install --", add_help=False)
    add_flags(Flags(parser, environ={}))
    usual, chosen = vars(parser.parse_args([])), vars(parser.parse_args(list(given)))
    settings: dict[str, str] = {}
    for name, value in chosen.items():
        if value == usual[name]:
            continue
        flag = f"--{name.replace('_', '-')}"
        words = value if isinstance(value, list) else [value]
        text = ",".join(
            str(word).removesuffix(".0") if isinstance(word, float) else str(word) for word in words
        )
        if not text.isprintable() or (len(words) != text.count(",") + 1 and isinstance(value, list)):
            rule = "must be one line of printable characters, and without commas where it may be repeated"
            raise InvalidInput(flag, f"{rule}, got {text!r}")
        settings[variable(flag)] = text
    return settings


def _program(named: str | None) -> list[str]:
    """How the unit starts this program: its script if there is one, else the interpreter with the module."""
    script = Path(named) if named else Path(sys.executable).with_name("edgecanary")
    words = [str(script)] if named or script.exists() else [sys.executable, "-m", "edgecanary"]
    program = Path(words[0])
    if not program.is_absolute() or not os.access(program, os.X_OK):
        raise InvalidInput("--program", f"must be the absolute path of an executable file, got {program}")
    if hidden := _hidden(program) or (None if named else _hidden(Path(sys.executable))):
        advice = "install edgecanary and its Python in a folder such as /opt/edgecanary and run it from there"
        raise InvalidInput("--program", f"{program} is in {hidden}, which the service cannot see; {advice}")
    return words


def _hidden(path: Path) -> Path | None:
    """The folder, of those that the unit hides, that the path is in."""
    real = path.resolve()
    return next((folder for folder in _HIDDEN if real.is_relative_to(folder)), None)


def _check_paths(settings: Mapping[str, str]) -> None:
    """Files and folders must be where the service can see them. Raises InvalidInput naming the flag."""
    given = ((flag, settings[variable(flag)]) for flag in _PATH_FLAGS if variable(flag) in settings)
    for flag, text in ((flag, text) for flag, texts in given for text in texts.split(",")):
        if not Path(text).is_absolute():
            raise InvalidInput(flag, f"must be an absolute path for a service, got {text!r}")
        if hidden := _hidden(Path(text)):
            raise InvalidInput(flag, f"{text} is in {hidden}, which the service cannot see; put it elsewhere")


def _user(name: str) -> str:
    if not _USER.fullmatch(name):
        raise InvalidInput("--user", f"must be the name of a user, got {name!r}")
    return name


def _memory(quantity: str | None) -> str | None:
    return None if quantity is None else str(parse_bytes(quantity, field="--memory-max"))


def _systemd_version() -> int | None:
    program = shutil.which("systemctl")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else None


def _apply(changes: Sequence[Change], *, force: bool) -> None:
    """Writes and removes, each file whole or not at all. Nothing is touched when one file was edited."""
    wanted = [change for change in changes if _read(change.path) != change.text]
    for change in wanted:
        present = _read(change.path)
        if present is not None and not agent_unit.is_untouched(present) and not force:
            text = f"{change.path} was edited by hand and is kept; compare it with --print, or give --force"
            raise EdgecanaryError("FileEdited", text)
    for change in changes:
        if change not in wanted:
            word = "unchanged" if change.text is not None else "is not there"
        else:
            word = "written" if change.text is not None else "removed"
            _put(change)
        sys.stdout.write(f"{change.path}: {word}\n")


def _put(change: Change) -> None:
    try:
        if change.text is None:
            change.path.unlink()
            return
        change.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(change.path, change.text.encode(), mode=0o644)
    except OSError as error:
        text = f"{change.path}: {error.strerror}; run this as root, or give --unit-dir and --config-dir"
        raise EdgecanaryError("NotWritable", text) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EdgecanaryError("NotReadable", f"{path}: {error.strerror}; run this as root") from error


def _steps_to_start(choices: UnitChoices, settings: Mapping[str, str]) -> list[list[str]]:
    steps: list[list[str]] = []
    user, data = choices.user, choices.data_dir
    if not _exists(user):
        steps.append(
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", STATE_DIRECTORY, user]
        )
    if data != STATE_DIRECTORY:
        steps.append(["install", "--directory", f"--owner={user}", "--mode=0750", data])
    secrets = (settings.get(variable(flag)) for flag in ("--kubeconfig", "--token-file"))
    for secret in filter(None, secrets):
        steps += [["chgrp", user, secret], ["chmod", "g+r", secret]]
    return [*steps, ["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", NAME]]


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _finish(steps: Sequence[Sequence[str]], *, doing: bool) -> None:
    """Runs the commands, or shows them."""
    if not doing:
        sys.stdout.write("Next, as root:\n" + "".join(f"  {' '.join(step)}\n" for step in steps))
        return
    if not Path("/run/systemd/system").is_dir():
        text = "systemd does not run here; the files are written, and the service starts where it does"
        raise EdgecanaryError("NoSystemd", text)
    for step in steps:
        done = subprocess.run(list(step), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EdgecanaryError(
                "CommandFailed", f"{' '.join(step)}: {(done.stderr or done.stdout).strip()}"
            )
