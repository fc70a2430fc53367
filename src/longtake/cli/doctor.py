"""The command that bug reports begin with: doctor."""

import json

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longtake.cli.common import Json, app
from longtake.doctor import Check, examine, record

COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red"}
NAMES = 20


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look whether films can be made here, and tell all that a bug report should say.

    Exit code 0 if they can, 1 if not. Names of users and machines are left out, and secrets.
    """
    checks, console = [], Console()
    for check in examine():
        checks.append(check)
        if not as_json:
            _show(check, console)
    report = record(checks)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print(
            "Films can be made here."
            if report["can_film"]
            else "No films can be made here: mend what failed."
        )
    raise typer.Exit(0 if report["can_film"] else 1)


def _show(check: Check, console: Console) -> None:
    """A row of a table in a terminal, a line to paste elsewhere."""
    said = check.found + (f" -> {check.advice}" if check.advice else "")
    if not console.is_terminal:
        print(f"{check.outcome:<8}{check.name:<{NAMES + 1}}{said}")
        return
    row = Table.grid(padding=(0, 1))
    for width in (max(map(len, COLOURS)), NAMES, None):
        row.add_column(width=width, overflow="fold")
    row.add_row(Text(check.outcome, COLOURS[check.outcome]), Text(check.name), Text(said))
    console.print(row)
