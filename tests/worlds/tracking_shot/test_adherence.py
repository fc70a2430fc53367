"""The judge of the embedded model: its arithmetic, on films whose answers are known."""

import random
from pathlib import Path

import numpy as np
import torch

from longtake.evaluation.drift import slices_of
from longtake.evaluation.films import MeasuredFilm
from longtake.evaluation.measures.adherence import Adherence
from longtake.evaluation.record import Record
from longtake.evaluation.world import Judged
from longtake.worlds.classifier import AttributeClassifier, accuracy
from longtake.worlds.tracking_shot.adherence import as_table, summarise
from longtake.worlds.tracking_shot.judge import JUDGED, TRACKING_SHOT, rendered_stills
from longtake.worlds.tracking_shot.shot import FPS
from longtake.worlds.tracking_shot.world import WORLD


def films(wrong_from: int, prompts: int = 8, seconds: int = 60) -> list[MeasuredFilm]:
    """Films read right in every second, but for the vehicle from second `wrong_from` on."""
    made = []
    for caption, shot in WORLD.prompts(prompts):
        measure = Adherence(Judged(WORLD, AttributeClassifier(TRACKING_SHOT), shot))
        measure.right = [
            {name: name != "vehicle" or second < wrong_from for name in JUDGED} for second in range(seconds)
        ]
        curves = measure.curves(slices_of(seconds * FPS, FPS))
        record = Record(row="progressive", group=caption, times=[], curves={}, totals={}, about={})
        made.append(MeasuredFilm(Path(), "progressive", caption, np.array([]), curves, {}, {}, record))
    return made


def test_a_perfect_film() -> None:
    """All shares are 1 and nothing changes from the first to the last ten seconds."""
    summary = summarise(films(wrong_from=60))
    for name in JUDGED:
        assert summary["attributes"][name] == {
            "share": 1,
            "slices": [1] * 6,
            "first": 1,
            "last": 1,
            "change_interval": [0, 0],
        }


def test_drift_is_seen() -> None:
    """A vehicle lost half-way is a share of one half and a change of -1, certain."""
    vehicle = summarise(films(wrong_from=30))["attributes"]["vehicle"]
    assert vehicle["share"] == 0.5 and vehicle["slices"] == [1, 1, 1, 0, 0, 0]
    assert (vehicle["first"], vehicle["last"], vehicle["change_interval"]) == (1, 0, [-1, -1])


def test_uncertain_drift_has_a_wide_interval() -> None:
    """Where half of the prompts drift the interval of the change lies between -1 and 0."""
    some = films(wrong_from=60)[:4] + films(wrong_from=30)[4:]
    low, high = summarise(some)["attributes"]["vehicle"]["change_interval"]
    assert -1 <= low < -0.5 < high <= 0


def test_classifier_reads_and_is_scored() -> None:
    """It names one value an attribute for a second of film; labels are the shots' own."""
    torch.manual_seed(0)
    classifier = AttributeClassifier(TRACKING_SHOT).eval()
    frames, labels = rendered_stills(12, seed=random.Random(0).randrange(100))
    assert frames.shape[0] == 12 and frames.dtype == np.uint8
    assert set(classifier.read(frames[:3])) == set(JUDGED)
    assert all(0 <= share <= 1 for share in accuracy(classifier, frames, labels).values())


def test_table_says_what_was_measured() -> None:
    """A row an attribute, a row a codec, in order; no figure that the summary does not hold."""
    summary = summarise(films(wrong_from=30))
    summary["classifier_accuracy_on_renders"] = dict.fromkeys(JUDGED, 0.995)
    summary["codec"] = {
        f"{kind}_db_at_frame_{at}": 30.0 + at / 100 for kind in ("autoencoder", "pca") for at in (0, 200)
    }
    table = as_table(summary)
    assert "| vehicle | 50.0% | 100.0% | 0.0% | -100.0 … -100.0 points | 0.0% | 99.5% |" in table
    assert [line.split(" | ")[0][2:] for line in table.splitlines()[4:9]] == list(JUDGED)
    assert "| tubelet autoencoder | 30.0 dB | 32.0 dB |" in table
