"""What a film takes of a card, by the configuration alone, against tensors that are there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from longtake.errors import LongTakeError
from longtake.memory import GIB, Footprint, PartBytes, decode_bytes, footprint, footprints, pass_bytes
from longtake.models.adapter import Adapter
from longtake.models.card.empty import empty_encoders, empty_model
from longtake.models.card.placement import OFFLOADS, Placement
from longtake.models.card.quantize import hold_in_fp8
from longtake.models.card.tally import Tally, nbytes
from longtake.models.folder import ModelFolder
from longtake.models.hub import HubModel
from longtake.models.load import load_model, read_spec
from longtake.models.places import EMBEDDED, list_models, open_model
from longtake.options import FilmOptions, FilmPlan
from published import CONFIGS, hub_name, model_folder

TOLD = {model.name: model.told for model in list_models() if model.name != EMBEDDED.name}


def told_of(config: Path) -> HubModel:
    return TOLD[hub_name(config) or ""]


WITH_ALL_PARTS = sorted(path for path in CONFIGS.glob("*.json") if hub_name(path))
# MiniMax-H3 takes a minute, for the tiles of its decoder.
WALKED = [path for path in WITH_ALL_PARTS if told_of(path).peak_gib and path.stem != "minimax-h3"]
SIZE = {"width": 64, "height": 32}


def small_film(folder: ModelFolder) -> FilmPlan:
    options = {"num_inference_steps": 4, "steps_per_chunk": 2, "chunk_size": 2, "context_size": 2, **SIZE}
    return FilmOptions(prompt="a red car", num_frames=65, **options).resolved(folder.spec)


@pytest.fixture(params=["wan_folder", "skyreels_folder", "tubelet_folder", "open_sora_folder"])
def folder(request: pytest.FixtureRequest) -> ModelFolder:
    return open_model(request.getfixturevalue(request.param))


def test_an_estimate_is_what_is_there(folder: ModelFolder) -> None:
    """Guards estimates by nothing but JSON: of weights to the byte, of a pass and of decoding within a tenth."""
    dtype = torch.bfloat16
    loaded: Any = load_model(folder, dtype=dtype)
    film, width = small_film(folder), folder.network.text_width
    found = footprint(folder, film, dtype)
    parts = (loaded.text_encoder.parts["text_encoder"], loaded.transformer, loaded.vae)
    assert found.weights == sum(map(nbytes, parts))
    assert found.a_pass == pytest.approx(pass_bytes(loaded, film, width), rel=0.1)
    assert (found.decoding, found.remembered) == pytest.approx(decode_bytes(loaded, film), rel=0.1)


def test_weights_that_are_cast_for_each_layer(wan_folder: Path) -> None:
    """Guards float8: a pass that casts a layer while it works holds no more than one, and its film takes less."""
    folder = open_model(wan_folder)
    film, dtype = small_film(folder), torch.bfloat16
    whole, held = footprints(folder, film, dtype, (None, "fp8"))
    assert held.networks[0].all < whole.networks[0].all and held.a_pass == whole.a_pass
    model = empty_model(folder, dtype)
    hold_in_fp8(model.transformer, dtype)
    assert pass_bytes(model, film, folder.network.text_width) <= whole.a_pass + 2 * whole.networks[0].layer


def test_longer_windows_take_more(wan_folder: Path) -> None:
    """Guards an estimate that sees no film."""
    folder = open_model(wan_folder)
    film = small_film(folder)
    larger = FilmOptions(prompt="x", seconds=30, width=128, height=64).resolved(folder.spec)
    small, large = footprint(folder, film), footprint(folder, larger)
    assert large.a_pass > 2 * small.a_pass and large.decoding > 2 * small.decoding
    assert large.weights == small.weights


def test_tiles_take_less(wan_folder: Path) -> None:
    """Guards an estimate that sees no tiles: decoding takes less, though the decoder remembers where they overlap."""
    folder = open_model(wan_folder)
    asked = FilmOptions(prompt="x", num_frames=33, width=704, height=448)
    whole, tiled = (
        footprint(folder, asked.resolved(read_spec(folder, placement=Placement(tile=tile))))
        for tile in (False, True)
    )
    assert tiled.decoding < 0.7 * whole.decoding and tiled.remembered > whole.remembered


def test_what_is_on_the_card() -> None:
    """Each way to offload by its sum: what reads the prompts, or the network with what a film holds."""
    text, network, vae = PartBytes(100, 10, 5, 20), PartBytes(80, 8, 4, 3), PartBytes(7, 0, 7, 1)
    found = Footprint((text,), (network,), vae, a_pass=30, decoding=50, remembered=6)
    assert found.weights == 187
    assert [found.on_card(offload) for offload in OFFLOADS] == [237, 187, 137, 77, 60]
    late = Footprint((text,), (network,), vae, a_pass=48, decoding=50, remembered=6)
    assert late.on_card("sequential") == 64
    two = Footprint((text,), (network, network), vae, a_pass=30, decoding=50, remembered=6)
    assert [two.on_card(offload) for offload in OFFLOADS] == [317, 267, 137, 81, 60]


def test_a_tally_counts_what_is_held() -> None:
    """A tensor counts once, whatever views there are of it, until the last of them goes; numbers are not needed."""
    for device in ("cpu", "meta"):
        with torch.inference_mode(), Tally() as tally:
            x = torch.zeros(4, 100, device=device)
            view = x.view(-1)[1:]
            del x
            assert tally.held == 1600
            q = torch.zeros(1, 2, 64, 8, device=device)
            y = nn.functional.scaled_dot_product_attention(q, q, q)
            assert tally.peak == 1600 + 2 * y.nbytes  # no scores
            del view, q, y
            assert tally.held == 0


def test_a_network_that_looks_at_its_numbers(wan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be walked through without numbers is said in a line."""

    def looking(self: Adapter, *given: Any, **more: Any) -> Any:
        return given[0].sum().item()

    monkeypatch.setattr(Adapter, "velocity", looking)
    folder = open_model(wan_folder)
    with pytest.raises(LongTakeError, match="is not known: it cannot be walked through without numbers"):
        footprint(folder, small_film(folder))


@pytest.mark.parametrize("config", WITH_ALL_PARTS, ids=lambda path: path.stem)
def test_published_sizes(config: Path, tmp_path: Path) -> None:
    """Guards configurations that no folder could have, and the sum of full-size weights: two bytes a number."""
    folder = model_folder(config, tmp_path)
    model = empty_model(folder, torch.bfloat16)
    modules = [*empty_encoders(folder, torch.bfloat16), *model.networks, model.vae]
    numbers = sum(p.numel() for module in modules for p in module.parameters())
    assert told_of(config).weights_gib == pytest.approx(2 * numbers / GIB, rel=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # in Kandinsky 5's own norms
@pytest.mark.parametrize("config", WALKED, ids=lambda path: path.stem)
def test_what_is_told_of_memory(config: Path, tmp_path: Path) -> None:
    """Guards `longtake models` against numbers that nobody counted: those of its records are counted here."""
    folder = model_folder(config, tmp_path)
    found, told = footprint(folder, FilmOptions(prompt="x").resolved(folder.spec)), told_of(config)
    assert told.weights_gib == pytest.approx(found.weights / GIB, abs=0.11)
    assert told.peak_gib == {each: pytest.approx(found.on_card(each) / GIB, abs=0.11) for each in OFFLOADS}


def test_models_of_which_memory_is_not_told() -> None:
    """Guards a model that tells half of it, and docs that name others: those of no known configuration, and those whose
    networks cannot be walked through."""
    assert all(list(told.peak_gib) in ([], list(OFFLOADS)) for told in TOLD.values())
    assert {name.split("/")[1] for name, told in TOLD.items() if told.weights_gib is None} == {
        "Cosmos3-Nano",
        "Cosmos3-Super",
        "Motif-Video-2B",
    }
    assert {name.split("/")[1] for name, told in TOLD.items() if told.weights_gib and not told.peak_gib} == {
        "CogVideoX1.5-5B",
        "HunyuanVideo-1.5-Diffusers-480p_t2v",
        "HunyuanVideo-1.5-Diffusers-720p_t2v",
    }
