"""`python -m edgecanary`."""

import sys

from edgecanary.cli.main import main

sys.exit(main())
