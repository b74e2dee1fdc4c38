"""Writes crds/ and docs/reference/api.md from the API types; `--check` fails when they differ."""

import sys

from edgelab.generate import main

if __name__ == "__main__":
    sys.exit(main())
