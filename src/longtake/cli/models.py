"""The command that lists models, and what a card must hold for one."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from longtake.cli.common import Json, app, quick_imports
from longtake.models.card.placement import OFFLOADS, Quantize
from longtake.models.folder import ModelFolder
from longtake.models.places import KnownModel, list_models
from longtake.options import FilmPlan

if TYPE_CHECKING:
    from longtake.memory import Footprint

HELD: tuple[Quantize | None, ...] = (
    None,
    "fp8",
    "int8",
    "nf4",
)  # the weights: whole, or as --quantize makes them
WHOLE = "bfloat16"


@app.command()
def models(as_json: Json = False) -> None:
    """List models to film with: what they need of a card, their licence, and what to expect."""
    known = list_models()
    if as_json:
        print(json.dumps([_row(model) for model in known], indent=2))
    else:
        print(_listing(known))


def _row(model: KnownModel) -> dict[str, Any]:
    told = model.told
    return {
        "name": model.name,
        "on_disk": model.on_disk,
        "about": told.about,
        "licence": told.licence,
        "trained_on": told.trained_on,
        "expect": told.expect,
        "weights_gib": told.weights_gib,
        "peak_gib": dict(told.peak_gib) or None,
    }


def _listing(known: Sequence[KnownModel]) -> str:
    """The models in the order of the list, those of which the same is to be expected together."""
    groups = dict.fromkeys(model.told.expect for model in known)
    parts = ([f"{each}:", *(_lines(m) for m in known if m.told.expect == each)] for each in groups)
    return "\n\n".join("\n".join(part) for part in parts)


def _lines(model: KnownModel) -> str:
    told = model.told
    lines = [
        f"  {model.name}{'' if model.on_disk else '  (not on this disk)'}",
        told.about,
        f"{told.licence}; trained on {told.trained_on}",
    ]
    if told.weights_gib is not None:
        peaks = ", ".join(f"{offload} {told.peak_gib[offload]:.1f}" for offload in told.peak_gib)
        on_card = f"on the card by --offload: {peaks}" if peaks else "memory on the card is not counted"
        lines.append(f"weights {told.weights_gib:.1f} GiB in bfloat16; {on_card}")
    return "\n      ".join(lines)


def on_cards(folder: ModelFolder, film: FilmPlan) -> "dict[str | None, Footprint]":
    """What a film takes in bfloat16, by how the weights are held."""
    with quick_imports():
        import torch

        from longtake.memory import footprints

    return dict(zip(HELD, footprints(folder, film, torch.bfloat16, HELD), strict=True))


def card_json(found: "dict[str | None, Footprint]", card: float) -> dict[str, Any]:
    """The same as JSON values, in GiB."""
    from longtake.memory import GIB, OVERHEAD

    whole = found[None]
    return {
        "card_gib": card,
        "free_gib": OVERHEAD / GIB,
        "weights_gib": whole.weights / GIB,
        "pass_gib": whole.a_pass / GIB,
        "decoding_gib": whole.decoding / GIB,
        "peak_gib": {
            held or WHOLE: {offload: taken.on_card(offload) / GIB for offload in OFFLOADS}
            for held, taken in found.items()
        },
        "fits": _fitting(found, card),
    }


def card_in_words(found: "dict[str | None, Footprint]", card: float) -> str:
    """What a film takes of a card of so many GiB, a line for each way to offload, and what fits."""
    from longtake.memory import GIB, OVERHEAD

    whole = found[None]
    texts, networks = (sum(part.all for part in parts) for parts in (whole.text, whole.networks))
    lines = [
        f"memory        weights {whole.weights / GIB:.1f} GiB in bfloat16: text encoder {texts / GIB:.1f}, network"
        f" {networks / GIB:.1f}, autoencoder {whole.autoencoder.all / GIB:.1f}; a pass takes"
        f" {whole.a_pass / GIB:.1f} more, decoding {whole.decoding / GIB:.1f}",
        f"on the card   {''.join(f'{held or WHOLE:>10}' for held in found)}",
    ]
    for offload in OFFLOADS:
        cells = (_cell(taken.on_card(offload) / GIB, card - OVERHEAD / GIB) for taken in found.values())
        lines.append(f"  {offload:<12}{''.join(f'{cell:>10}' for cell in cells)}")
    return "\n".join([*lines, _advice(_fitting(found, card), card)])


def _cell(gib: float, room: float) -> str:
    return f"{gib:.1f} {'+' if gib <= room else '-'}"


def _fitting(found: "dict[str | None, Footprint]", card: float) -> list[dict[str, str | None]]:
    """What fits: the first way to offload with whole weights, then those with others that let more stay."""
    from longtake.memory import GIB, OVERHEAD

    fits, stays = list[dict[str, str | None]](), len(OFFLOADS)
    for held, taken in found.items():
        room = (n for n, way in enumerate(OFFLOADS) if taken.on_card(way) + OVERHEAD <= card * GIB)
        if (first := next(room, stays)) < stays:
            fits.append({"quantize": held, "offload": OFFLOADS[first]})
            stays = first
    return fits


def _advice(fits: Sequence[dict[str, str | None]], card: float) -> str:
    if not fits:
        return f"{card:g} GiB     are too few for any of them: take a smaller --size, --context or window"
    ways = [
        " ".join(f"--{name} {value}" for name, value in reversed(way.items()) if value is not None)
        for way in fits
    ]
    return f"{card:g} GiB     do with {', or '.join(ways)}; 1 GiB is left free for CUDA and its libraries"
