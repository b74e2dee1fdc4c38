"""Writes crds/, docs/reference/api.md, docs/guides/rollout-semantics.md and tests/sim/golden.

`--check` writes nothing and fails when they differ.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgelab.generate import main
from tests.sim.golden_logs import golden_logs

if __name__ == "__main__":
    sys.exit(main(more=golden_logs))
