"""`edgecanary agent prepare`: makes the data directory and gives it to the agent's user.

A DaemonSet's init container runs it as root, so that the agent itself need not be root.
"""

import argparse
import os
import stat
import sys
from pathlib import Path

from edgecanary.base.errors import EdgecanaryError, InvalidInput

_MOST_ID = 2**31 - 1


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = actions.add_parser(
        "prepare", help="make the data directory and give it to a user", description=__doc__
    )
    parser.add_argument("--data-dir", required=True, help="where models are kept", metavar="DIR")
    parser.add_argument(
        "--owner", required=True, type=int, help="number of the agent's user and group", metavar="UID"
    )


def run(options: argparse.Namespace) -> int:
    """Makes the directory and gives away what is not the user's yet; returns the exit code."""
    folder, owner = Path(options.data_dir), int(options.owner)
    if not folder.is_absolute() or folder == Path("/"):
        raise InvalidInput("--data-dir", f"must be an absolute path below /, got {options.data_dir!r}")
    if not 0 <= owner <= _MOST_ID:
        raise InvalidInput("--owner", f"must be a user's number, 0 to {_MOST_ID}, got {owner}")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        given = _give(folder, owner)
    except OSError as error:
        text = (
            f"{error.filename or folder}: {error.strerror}; run this as root, on a disk that can be written"
        )
        raise EdgecanaryError("NotPrepared", text) from error
    sys.stdout.write(f"{folder}: user {owner} owns it ({given} entries changed hands)\n")
    return 0


def _give(folder: Path, owner: int) -> int:
    """Gives the folder and all in it to the owner; links are given, never followed. How many were another's."""
    given = 0
    for _, folders, files, parent in os.fwalk(folder, follow_symlinks=False):
        for name in (".", *folders, *files):
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            folder_seen_as_entry = name != "." and stat.S_ISDIR(found.st_mode)
            if not folder_seen_as_entry and (found.st_uid, found.st_gid) != (owner, owner):
                os.chown(name, owner, owner, dir_fd=parent, follow_symlinks=False)
                given += 1
    return given
