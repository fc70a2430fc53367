"""The command that plans a film, and what a card must hold for it."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from longtake.cli.common import Json, Model, app, quick_imports, say
from longtake.cli.cost import cost_in_words, ladder_picture, state_size_of, states_in_words
from longtake.cli.film import (
    FIELDS,
    At,
    Bfloat16Shift,
    End,
    Lora,
    Preset,
    Script,
    Size,
    Start,
    WithCues,
    film_of,
    film_options,
    model_of,
    say_notes,
)
from longtake.cli.models import card_in_words, card_json, on_cards
from longtake.cli.parameters import takes
from longtake.cli.placing import placement_of
from longtake.cli.shooting import KeepStates, every_of
from longtake.cli.timeline import cue_rows, timeline_picture
from longtake.models.card.placement import Placement
from longtake.models.places import open_model
from longtake.options import FilmOptions
from longtake.presets import added_to

Card = Annotated[
    float | None,
    typer.Option(
        "--card", metavar="GB", min=1, help="Also what a card of so much memory must hold, and what fits."
    ),
]


@app.command(cls=WithCues)
@takes(FilmOptions, [name for name in FIELDS if name not in ("seed", "negative_prompt")])
@takes(Placement, ["tile"])
def plan(
    start: Start = None,
    end: End = None,
    script: Script = None,
    at: At = None,
    model: Model = None,
    preset: Preset = None,
    bfloat16_shift: Bfloat16Shift = False,
    lora: Lora = None,
    size: Size = None,
    keep_states: KeepStates = None,
    card: Card = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Show what a film would cost, without loading any weights; with --keep-states, how large these are too, with
    --card, what fits on a card."""
    folder, every = open_model(model_of(model, preset)), every_of(keep_states)
    placed = placement_of(given)
    film = film_of(
        film_options(None if script else "any", size, preset, bfloat16_shift, script, at, **given),
        folder,
        preset,
        lora,
        start,
        end,
        placed,
    )
    with quick_imports():
        from longtake.noise import film_table

    if preset:
        say(f'note: preset {preset} adds "{added_to("any")}" to a prompt that names no score')
    say_notes(film)
    settings = film.settings
    sigmas = film_table(settings, film.schedule).tolist()
    kept = None if every is None else state_size_of(film, folder)
    if as_json:
        report: dict[str, Any] = {"model": film.model, "settings": settings.told}
        report |= {"plan": asdict(film.cost), "sigmas": sigmas, "delay_latents": folder.spec.delay_latents}
        if kept is not None:
            report["state_bytes"] = kept.in_file
        report |= {"cues": cue_rows(film)}
        if card is not None:
            report |= {"card": card_json(on_cards(folder, film), card)}
        print(json.dumps(report, indent=2))
    else:
        states = "" if kept is None or every is None else f"\n{states_in_words(film, kept, every)}"
        print(f"{cost_in_words(film, folder.spec)}{states}\n\n{ladder_picture(sigmas, film.cost.sampling)}")
        if film.cues:
            print(f"\n{timeline_picture(film)}")
        if card is not None:
            print(f"\n{card_in_words(on_cards(folder, film), card)}")
