"""`python -m edgelab.tools`: get every program ahead of time."""

import sys

from edgelab.tools import main

sys.exit(main())
