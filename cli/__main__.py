"""`python -m mnistcompose.cli`."""

import sys

from . import main

sys.exit(main())
