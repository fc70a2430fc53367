"""`python -m longtake` is the command line."""

from longtake.cli import main

main()
