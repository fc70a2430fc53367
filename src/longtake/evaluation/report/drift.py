"""One picture of what people complain of in long films: contrast, saturation and sharpness that grow or fade."""

from __future__ import annotations

from longtake.evaluation.report.chart import Size
from longtake.evaluation.report.lines import chart_of, style_of
from longtake.evaluation.report.rows import FEWEST_PROMPTS
from longtake.evaluation.report.summary import Summary
from longtake.evaluation.report.templates import templates
from longtake.evaluation.report.verdicts import at_equal_steps

SHOWN = ("contrast", "saturation", "sharpness")
PANEL = Size(340, 240)


def drift_picture(summary: Summary, subject: str) -> str:
    """A panel for each of SHOWN, side by side, as SVG that needs nothing but itself: a line for each row at equal
    steps, its mean over films, and the 95 % interval of that over prompts, where there are enough of these."""
    rows = at_equal_steps(summary)
    shown = [name for name in SHOWN if name in summary.curve_names]
    prompts = len({prompt for prompt, _ in summary.shared})
    return (
        templates()
        .get_template("drift.svg")
        .render(
            subject=subject,
            panel=PANEL,
            panels=[(summary.about[name], chart_of(summary, rows, name, PANEL)) for name in shown],
            keys=[(row.base, style_of(summary, row)) for row in rows],
            prompts=prompts,
            enough=prompts >= FEWEST_PROMPTS,
            fewest=FEWEST_PROMPTS,
        )
    )
