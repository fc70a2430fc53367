"""The sums and the sentences of a report, on films whose numbers are made up."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from longtake.errors import LongTakeError
from longtake.evaluation.films import MeasuredFilm, read_film, write_film
from longtake.evaluation.record import Record
from longtake.evaluation.report.columns import LIKENESS, Column, statistics
from longtake.evaluation.report.drift import SHOWN, drift_picture
from longtake.evaluation.report.page import Origin, page
from longtake.evaluation.report.rows import Row
from longtake.evaluation.report.summary import Summary, summarise
from longtake.evaluation.report.tables import markdown, number, span, verdict
from longtake.evaluation.report.verdicts import sentence, standing

SLICES, PROMPTS = 30, 6
ORIGIN = Origin("a <subject>", ["longtake compare -o 'a & b'"], ["<note>"], {})
TIMES = [2.0 * k + 1 for k in range(SLICES)]
ABOUT = {
    "adherence": {"title": "attributes read right", "unit": "share of seconds", "better": "higher"},
    "luma": {"title": "luma", "unit": "0 to 1", "better": "neither"},
    "cuts": {"title": "scene cuts", "unit": "number", "better": "lower"},
}


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., MeasuredFilm]:
    """A film whose adherence falls by `fall` in its length, and whose looks turn by as much of a right angle."""

    def make(row: str, prompt: int, fall: float = 0.0, seed: int = 0) -> MeasuredFilm:
        path = tmp_path / f"{row}-{prompt}-{seed}.json"
        angle = np.linspace(0, fall, SLICES) * np.pi / 2
        clips = np.random.default_rng(prompt).random((SLICES, 6))
        clips[:, 0], clips[:, 1], clips[:, 2] = np.cos(angle), np.sin(angle), prompt / 10
        record = {
            "row": row,
            "group": f"<prompt {prompt}>",
            "seed": seed,
            "made": {"longtake": "0"},
            "times": TIMES,
            "curves": {
                "adherence": list(1 - np.linspace(0, fall, SLICES) - prompt / 100),
                "luma": [0.5] * (SLICES - 1) + [None],
            },
            "totals": {"cuts": prompt + 5 * fall},
            "about": ABOUT,
            "cost": {"evaluations_per_frame": 2, "passes": 1, "peak_window": 1, "num_inference_steps": 8},
        }
        write_film(path, Record.model_validate(record), clips, b"")
        return read_film(path)

    return make


@pytest.fixture
def summary(film: Callable[..., MeasuredFilm]) -> Summary:
    """Ours holds, fifo falls, restart is ours."""
    falls = {"progressive": 0.0, "restart": 0.0, "fifo": 0.5, "fifo, equal cost": 0.6, "real film": 0.0}
    films = [film(row, prompt, fall) for prompt in range(PROMPTS) for row, fall in falls.items()]
    return summarise([*films, film("real film", 0, seed=1)])


def told(summary: Summary, key: str) -> Column:
    """A number of the curve of adherence."""
    shown = statistics("adherence", summary.about["adherence"], summary.real)
    return next(column for column in shown if column.key == key)


def test_the_sentence_says_what_the_numbers_say(summary: Summary) -> None:
    """Guards the claim on top: it holds, who falls, and by how much; nothing of who cannot be told apart."""
    assert sentence(summary) == (
        "Over 60 s, progressive holds what its prompt asks for: 97.5 % at first, 97.5 % at last. Fifo ends at 50.9 %."
        " Progressive's likeness to real film ends above that of fifo."
    )
    groups = standing(summary, summary.rows, summary.column("adherence.last"))
    assert [[row.name for row in group] for group in groups] == [
        ["fifo, equal cost", "fifo"],
        [],
        ["restart"],
    ]
    assert [row.name for row in summary.rows] == [
        "progressive",
        "restart",
        "fifo",
        "fifo, equal cost",
        "real film",
    ]


def test_differences_are_of_pairs(summary: Summary) -> None:
    """Guards intervals against the spread between prompts, which is in both films of a pair: 46.5 points, certain."""
    last = summary.column("adherence.last")
    interval = summary.behind["fifo", last.key]
    np.testing.assert_allclose([interval.value, interval.low, interval.high], 0.4655, atol=1e-3)
    assert verdict(interval, last) == "good"
    own = summary.cells["progressive", last.key]
    assert own.low < own.value < own.high
    assert verdict(summary.behind["restart", last.key], last) == ""


def test_likeness_is_to_other_real_film_of_the_prompt(summary: Summary) -> None:
    """Guards a film compared with itself: real film of a prompt has a likeness only where there is more of it."""
    fifo = next(row for row in summary.rows if row.name == "fifo").films[0].curves[LIKENESS]
    np.testing.assert_allclose(fifo, np.cos(np.linspace(0, np.pi / 4, SLICES)), atol=1e-3)
    real = {film.key: film.curves[LIKENESS] for film in summary.rows[-1].films}
    np.testing.assert_allclose(real["<prompt 0>", 0], 1, atol=1e-3)
    assert np.isnan(real["<prompt 1>", 0]).all()


def test_only_rows_of_the_same_prompts_have_a_best(film: Callable[..., MeasuredFilm]) -> None:
    """Guards a method against losing by harder prompts."""
    films = [film(row, 1, fall) for row, fall in (("progressive", 0.2), ("fifo", 0.5))]
    same, more = summarise(films), summarise([*films, film("progressive", 2)])
    best = [summary.best(summary.column("adherence.last")) for summary in (same, more)]
    assert best == [["progressive"], []]
    assert same.shared == more.shared == {("<prompt 1>", 0)}
    assert "Curves are of the 1 prompts that all rows have" in page(more, ORIGIN)
    assert "Curves are of" not in page(same, ORIGIN)


def test_a_run_that_stopped_at_real_film(film: Callable[..., MeasuredFilm]) -> None:
    """Guards the report of a run whose first film, the quickest to make, is all there is."""
    assert "real film" in page(summarise([film("real film", 1)]), ORIGIN)


def test_few_prompts_have_no_intervals(film: Callable[..., MeasuredFilm]) -> None:
    """Guards certainty that two prompts cannot give."""
    summary = summarise(
        [film(row, prompt, fall) for prompt in (1, 2) for row, fall in (("progressive", 0), ("fifo", 1))]
    )
    assert sentence(summary).endswith("too few prompts to tell more")
    assert all(np.isnan(interval.low) for interval in summary.cells.values())
    assert summary.distances == {} and "…" not in markdown(summary)


def test_what_drifts_apart_drifts(film: Callable[..., MeasuredFilm]) -> None:
    """Guards drift against its mean: of two films, one of which gains what the other loses, neither held."""
    summary = summarise([film("progressive", 1, 0.5), film("progressive", 2, -0.5)])
    drift, change = (told(summary, f"adherence.{what}") for what in ("drift", "contrast"))
    (row,) = summary.rows
    assert row.number(change.number).value == pytest.approx(0) and row.number(drift.number).value > 0.4


def test_what_is_kept_is_a_share_of_the_start(film: Callable[..., MeasuredFilm]) -> None:
    """The last ten seconds over the first; of what began at nothing there is no share."""
    half = replace(film("progressive", 1), curves={"adherence": np.linspace(1, 0.5, 30).round(1)})
    curve = half.curves["adherence"]
    kept = told(summarise([film("progressive", 1)]), "adherence.kept")
    assert kept.number(half) == pytest.approx(curve[-5:].mean() / curve[:5].mean())
    assert np.isnan(kept.number(replace(half, curves={"adherence": np.zeros(30)})))


def test_unknown_numbers_are_not_counted(film: Callable[..., MeasuredFilm]) -> None:
    """Guards an interval of six prompts of which five have no number."""
    row = Row("progressive", tuple(film("progressive", prompt) for prompt in range(6)))
    known = row.number(lambda film: 1.0 if film.group == "<prompt 1>" else np.nan)
    assert known.value == 1 and np.isnan(known.low)


def test_distances_of_every_ten_seconds(film: Callable[..., MeasuredFilm]) -> None:
    """Guards the table of distances: six of a minute, with intervals, and ours against the other's."""
    falls = {"progressive": 0.0, "fifo": 0.5}
    films = [film(row, prompt, fall) for prompt in range(8) for row, fall in falls.items()]
    films += [film("real film", prompt) for prompt in range(16)]
    summary = summarise(films)
    assert [len(slices) for slices in summary.distances.values()] == [6, 6]
    assert summary.nearer["fifo"][-1].value < summary.nearer["fifo"][0].value
    html = page(summary, ORIGIN)
    assert html.count("progressive − fifo") == 1 and html.count("<th>50 to 60 s</th>") == 2


def test_tables_say_no_more_than_is_known(summary: Summary) -> None:
    """Guards the marks: the best in bold, ours among equals; and markup in prompts."""
    lines = markdown(summary).splitlines()
    assert lines[2].startswith("| progressive | 6 | 2.00 | **97.5 %** (")
    assert lines[0].count("|") == lines[2].count("|")
    html = page(summary, ORIGIN)
    assert (
        "&lt;prompt 1&gt;" in html and "<prompt" not in html and "<note>" not in html and "a &amp; b" in html
    )


def test_columns_are_told_apart_by_what_they_are(film: Callable[..., MeasuredFilm]) -> None:
    """Guards two numbers under one title against standing in one another's cells."""
    first, second = film("progressive", 1), film("progressive", 2)
    about = {**first.about, "adherence": replace(first.about["adherence"], title="luma")}
    summary = summarise([replace(first, about=about), replace(second, about=about)])
    assert len({column.key for column in summary.columns}) == len(summary.columns) == len(summary.cells)


def test_a_film_comes_back_as_it_was_written(film: Callable[..., MeasuredFilm]) -> None:
    """Guards the file: nothing in it that was not given, nothing lost."""
    record = film("progressive", 1).record
    assert Record.model_validate(record.json_values()) == record
    assert "notes" not in record.json_values() and record.json_values()["curves"]["luma"][-1] is None


def test_a_file_that_is_no_films_is_one_line(tmp_path: Path) -> None:
    """Guards pydantic's own words, which are many lines."""
    for text in ("{", "{}", "[1]"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(
            LongTakeError, match=r"^[^\n]*x.json is not the file of a measured film[^\n]*: delete it$"
        ):
            read_film(tmp_path / "x.json")


@pytest.mark.parametrize(("prompts", "bands"), [(PROMPTS, 2), (2, 0)])
def test_the_picture_of_drift(film: Callable[..., MeasuredFilm], prompts: int, bands: int) -> None:
    """Guards three panels side by side, a line a method and its interval in each, in one file that stands alone."""
    rises = {"progressive": 0.0, "restart": 0.3}
    films = []
    for prompt in range(prompts):
        for row, rise in rises.items():
            made, curve = film(row, prompt), np.linspace(0.2, 0.2 + rise, SLICES) + prompt / 100
            about = {name: replace(made.about["luma"], title=name) for name in SHOWN}
            films.append(
                replace(
                    made, curves={**made.curves, **dict.fromkeys(SHOWN, curve)}, about={**made.about, **about}
                )
            )
    picture = drift_picture(summarise(films), "a <subject>")
    root = ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}svg")
    assert [panel.get("aria-label") for panel in panels] == list(SHOWN)
    places = [(int(p.get("x", 0)), int(p.get("x", 0)) + int(p.get("width", 0))) for p in panels]
    assert all(one[1] < other[0] for one, other in pairwise(places))
    assert places[-1][1] < int(root.get("width", 0))
    for panel in panels:
        marks = [path.get("class", "") for path in panel.iter(f"{space}path")]
        assert [len([mark for mark in marks if mark.startswith(kind)]) for kind in ("line", "band")] == [
            2,
            bands,
        ]
    assert "url(" not in picture and "&lt;subject&gt;" in picture
    told = "with 95 % intervals over 6 prompts" if bands else "of 2 prompts; intervals take 5"
    assert told in re.sub(r"\s+", " ", picture)


def test_numbers_are_written_as_people_do(summary: Summary) -> None:
    """Guards signs of nothing, and numbers that are none."""
    assert [number(value, "share") for value in (0.5, np.nan, -0.00001)] == ["50.0 %", "–", "0.0 %"]
    assert [number(value, "") for value in (0, 0.01234, 1.234, 12.34, 123.4)] == [
        "0",
        "0.012",
        "1.23",
        "12.3",
        "123",
    ]
    assert number(0.1, "share", sign=True) == "+10.0 %" and number(3, "s") == "3.0 s"
    assert span(summary.cells["progressive", "adherence.change"], "share") == "0.0 … 0.0"
