"""The judge of the embedded model: its arithmetic, on films whose answers are known."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from longtake.errors import OptionError
from longtake.evaluation.adherence import as_table, held_out_shots, summarise
from longtake.evaluation.classifier import JUDGED, AttributeClassifier, accuracy, rendered_stills
from longtake.worlds.tracking_shot import ATTRIBUTES, is_held_out


def records(wrong_from: int, prompts: int = 8, seconds: int = 60) -> list[dict[str, Any]]:
    """Films read right in every second, but for the vehicle from second `wrong_from` on."""
    films: list[dict[str, Any]] = []
    for shot in held_out_shots(prompts):
        read = [dict(shot.attributes) for _ in range(seconds)]
        for second in read[wrong_from:]:
            second["vehicle"] = next(v for v in ATTRIBUTES["vehicle"] if v != shot.vehicle)
        films.append({"prompt": shot.caption(), "shot": shot.attributes, "read": read})
    return films


def test_a_perfect_film() -> None:
    """All shares are 1 and nothing changes from the first to the last ten seconds."""
    summary = summarise(records(wrong_from=60))
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
    vehicle = summarise(records(wrong_from=30))["attributes"]["vehicle"]
    assert vehicle["share"] == 0.5 and vehicle["slices"] == [1, 1, 1, 0, 0, 0]
    assert (vehicle["first"], vehicle["last"], vehicle["change_interval"]) == (1, 0, [-1, -1])


def test_uncertain_drift_has_a_wide_interval() -> None:
    """Where half of the prompts drift the interval of the change lies between -1 and 0."""
    films = records(wrong_from=60)[:4] + records(wrong_from=30)[4:]
    low, high = summarise(films)["attributes"]["vehicle"]["change_interval"]
    assert -1 <= low < -0.5 < high <= 0


def test_evaluation_prompts_are_held_out_and_distinct() -> None:
    """No prompt twice, none that training has seen."""
    shots = held_out_shots(24)
    assert all(map(is_held_out, shots)) and len({tuple(s.attributes.values())[:5] for s in shots}) == 24


def test_more_prompts_than_there_are_is_one_line() -> None:
    """Guards against a search without end for combinations of attributes that there are not."""
    with pytest.raises(
        OptionError, match="training leaves 420 combinations of attributes out: 421 prompts are too"
    ):
        held_out_shots(421)


def test_classifier_reads_and_is_scored() -> None:
    """It names one value an attribute for a second of film; labels are the shots' own."""
    torch.manual_seed(0)
    classifier = AttributeClassifier().eval()
    frames, labels = rendered_stills(12, seed=random.Random(0).randrange(100))
    assert frames.shape[0] == 12 and frames.dtype == np.uint8
    assert set(classifier.read(frames[:3])) == set(JUDGED)
    assert all(0 <= share <= 1 for share in accuracy(classifier, frames, labels).values())


def test_table_says_what_was_measured() -> None:
    """A row an attribute, a row a codec, in order; no figure that the summary does not hold."""
    summary = summarise(records(wrong_from=30))
    summary["classifier_accuracy_on_renders"] = dict.fromkeys(JUDGED, 0.995)
    summary["codec"] = {
        f"{kind}_db_at_frame_{at}": 30.0 + at / 100 for kind in ("autoencoder", "pca") for at in (0, 200)
    }
    table = as_table(summary)
    assert "| vehicle | 50.0% | 100.0% | 0.0% | -100.0 … -100.0 points | 0.0% | 99.5% |" in table
    assert [line.split(" | ")[0][2:] for line in table.splitlines()[4:9]] == list(JUDGED)
    assert "| tubelet autoencoder | 30.0 dB | 32.0 dB |" in table
