"""Texts that a person has read and found good. `GOLDEN=write` in the environment writes them anew."""

import os
from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """The text is the one in golden/NAME.txt, to the letter."""
    file = _FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()
