"""The command line, a guest of the library: the only room that prints or exits.

torch is imported by the commands that film or plan, not by `--help`. Errors a user can mend are one line on
stderr, exit code 2; a command that is stopped exits with 128 and the number of the signal."""

import sys
from typing import NoReturn

from longtake.cli.signals import exit_code, stops
from longtake.cli.streams import standard_streams


def main() -> NoReturn:
    """Runs the command line and exits. All else is imported once signals and streams are taken care of."""
    with stops(), standard_streams() as stdout:
        try:
            from longtake.cli.app import run

            code = run(stdout)
        except KeyboardInterrupt:  # before a command had begun
            code = exit_code()
    sys.exit(code)
