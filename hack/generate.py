"""Writes all that is generated; `--check` writes nothing and fails when something differs.

That is crds/, docs/reference, docs/guides/rollout-semantics.md, tests/sim/golden and the example in
docs/guides/simulator.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgelab.generate import main
from tests.sim.golden_logs import generated

if __name__ == "__main__":
    sys.exit(main(more=generated))
