"""`python -m mnistcompose.cli`."""

from . import main

main()
