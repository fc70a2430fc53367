"""What fills the templates of assets/report."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from longtake.evaluation.report.tables import cost, number, span, style, verdict


@cache
def templates() -> Environment:
    loader, strict = PackageLoader("longtake", "assets/report"), StrictUndefined
    made = Environment(loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True)
    made.globals |= {function.__name__: function for function in (cost, number, span, style, verdict)}
    return made
