"""Fuzzes one target: `python -m tests.fuzz.worker TARGET [flags of libFuzzer] [folders]`.

The program's own code is instrumented as it is imported, so nothing of it may be imported before.
"""

import sys

import atheris


def main() -> None:
    """Runs until libFuzzer's limits end it. The exit code is 0 when nothing was found."""
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["edgecanary", "zipfile"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - see above
    target = next(target for target in TARGETS if target.name == name)
    atheris.Setup([sys.argv[0], *flags], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
