"""VBench's networks: the released names, shapes and numbers; closed forms of their parts; folders of weights.

tests/data/vbench.json holds, for each network, the names and shapes of the released state dict, and what the released
code answers to `pictures` with the weights of `made_weights`. DINO's is a small one, of the hub's names.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

from longtake.errors import ModelError
from longtake.evaluation.vbench import amt, musiq, raft, vit
from longtake.evaluation.vbench.dimensions import DIMENSIONS, VBench
from longtake.evaluation.vbench.sampling import Correlation, pixel_grid
from longtake.evaluation.vbench.weights import AESTHETIC_HEAD, AMT, CLIP_B32, DINO, RAFT, SOURCE, check, fill
from portable import close, rounding

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
RELEASED = json.loads((Path(__file__).parents[2] / "data" / "vbench.json").read_text(encoding="utf-8"))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Mapping[str, str], int]] = {
    "raft": (raft.Raft, raft.NAMES, 5_257_536),
    "amt": (amt.AmtS, amt.NAMES, 2_990_543),
    "musiq": (musiq.Musiq, musiq.NAMES, 27_125_825),
}


def made_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Weights that depend on nothing but their names, of a size that keeps activations at theirs."""
    weights = {}
    for name, shape in shapes.items():
        once = name.replace("downsample.1", "norm3")  # RAFT has one layer under both names
        noise = np.random.default_rng(zlib.crc32(once.encode())).random(shape) * 2 - 1
        if len(shape) > 1:
            noise *= (3 / np.prod(shape[1:])) ** 0.5
        else:
            noise = 0.3 * noise + name.endswith(("running_var", "weight"))
        weights[name] = torch.from_numpy(np.asarray(noise, np.float32))
    return weights


def pictures(count: int, height: int, width: int) -> Tensor:
    """Waves (count, 3, H, W) of 0 … 255."""
    y, x = np.mgrid[:height, :width]
    waves = [[np.sin(x / (5 + c) + y / (7 + k) + k) for c in range(3)] for k in range(count)]
    return torch.tensor(np.array(waves) * 100 + 127).float().round()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes tensors to a file, which is gone after the test."""
    paths = []

    def store(
        tensors: Mapping[str, Tensor], name: str = "weights.safetensors", source: str | None = None
    ) -> Path:
        paths.append(tmp_path / name)
        paths[-1].parent.mkdir(exist_ok=True)
        save_file(dict(tensors), paths[-1], {SOURCE: source} if source else None)
        return paths[-1]

    yield store
    for path in paths:
        path.unlink(missing_ok=True)


def empty(network: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return network()


def loaded(network: Callable[[], nn.Module], path: Path, names: Mapping[str, str]) -> Any:
    made = empty(network)
    fill(made, path, names, CPU)
    return made


def answers(run: Callable[[], Tensor], answer: Sequence[float], network: nn.Module, seen: Tensor) -> None:
    """Fail if numbers, recorded with six digits or more, are not those that a network gives, but for rounding."""
    expected = torch.tensor(answer)
    tolerance = rounding(run, network, seen, makers=2) + 1e-6 * float(expected.abs().max())
    assert tolerance < 0.01 * expected.abs().max()
    close(run().flatten(), expected.flatten(), tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_the_released_ones(name: str) -> None:
    """Guards that official weights fit: every tensor of ours is in the released state dict, in its shape, and none of
    the released parameters is left out."""
    network, names, parameters = NETWORKS[name]
    released = {}
    for theirs, shape in RELEASED[name]["shapes"].items():
        for part, ours in names.items():
            theirs = theirs.replace(part, ours)
        released[theirs] = shape
    made = empty(network)
    shapes = {name: list(tensor.shape) for name, tensor in made.state_dict().items()}
    assert shapes == {name: released[name] for name in shapes}
    assert {name for name in released if name not in shapes and ".norm3." not in name} == set()
    assert sum(parameter.numel() for parameter in made.parameters()) == parameters


def test_raft_answers_as_released(stored: Callable[..., Path]) -> None:
    """Guards RAFT against the released code: encoders, lookup, recurrence, upsampling."""
    network = loaded(raft.Raft, stored(made_weights(RELEASED["raft"]["shapes"])), raft.NAMES)
    first = pictures(1, 128, 128)

    def flow() -> Tensor:
        return network(first, first.roll((2, 3), (2, 3)), iterations=4)[0, :, 5::40, 7::40]

    answers(flow, RELEASED["raft"]["answer"], network, first)


def test_amt_answers_as_released(stored: Callable[..., Path]) -> None:
    """Guards AMT-S against the released code, over every scale of it."""
    network = loaded(amt.AmtS, stored(made_weights(RELEASED["amt"]["shapes"])), amt.NAMES)
    first = pictures(1, 128, 128) / 255

    def between() -> Tensor:
        return network(first, first.roll((2, 3), (2, 3)))[0, :, 5::20, 7::20]

    answers(between, RELEASED["amt"]["answer"], network, first)


def test_musiq_answers_as_released(stored: Callable[..., Path]) -> None:
    """Guards MUSIQ against the port's code, which pads and masks what is left out here."""
    network = loaded(musiq.Musiq, stored(made_weights(RELEASED["musiq"]["shapes"])), musiq.NAMES)
    seen = pictures(2, 80, 128)
    seen[1] = seen[1].flip(-1) * 0.5
    seen = seen / 127.5 - 1
    answers(lambda: network(seen), RELEASED["musiq"]["answer"], network, seen)


def test_dino_answers_as_released(stored: Callable[..., Path]) -> None:
    """Guards a small DINO against the released code, on a picture that is not square and not whole patches wide."""
    path = stored(made_weights(RELEASED["dino"]["shapes"]))
    network = loaded(lambda: vit.Dino(16, 2, 2, 4, 7), path, vit.DINO_NAMES)
    seen = pictures(1, 28, 45) / 100 - 1
    answers(lambda: network(seen), RELEASED["dino"]["answer"], network, seen)


def test_dino_loads_what_transformers_saves(tmp_path: Path) -> None:
    """Guards the hub's names of DINO, and the answer to a square picture."""
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=28,
        patch_size=4,
        layer_norm_eps=1e-6,
    )
    theirs = ViTModel(config, add_pooling_layer=False).eval()
    theirs.save_pretrained(tmp_path)
    ours = loaded(lambda: vit.Dino(16, 2, 2, 4, 7), tmp_path / "model.safetensors", vit.DINO_NAMES)
    seen = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        close(ours(seen), theirs(seen).last_hidden_state[:, 0], rounding(lambda: ours(seen), ours, seen))


def test_clip_loads_what_transformers_saves(tmp_path: Path) -> None:
    """Guards the hub's names of CLIP and its features; half precision in a file becomes float32."""
    config = CLIPVisionConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=4,
        projection_dim=8,
    )
    theirs = CLIPVisionModelWithProjection(config).half().eval()
    theirs.save_pretrained(tmp_path)
    ours = loaded(lambda: vit.ClipImage(16, 2, 2, 4, 4, 8), tmp_path / "model.safetensors", vit.CLIP_NAMES)
    seen = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        close(ours(seen), theirs.float()(seen).image_embeds, rounding(lambda: ours(seen), ours, seen))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [(vit.Dino, 85_798_656), (vit.clip_b32, 87_849_216), (vit.clip_l14, 303_966_208)],
    ids=["dino", "clip-b32", "clip-l14"],
)
def test_transformers_are_of_the_released_size(network: Callable[[], nn.Module], parameters: int) -> None:
    """Guards the sizes of the full networks."""
    assert sum(parameter.numel() for parameter in empty(network).parameters()) == parameters


def test_correlation_equals_a_direct_loop() -> None:
    """Every reading is a bilinear mean of scalar products, the first step of the window along x, zero outside."""
    features, others = torch.randn(2, 1, 5, 8, 9)
    places = pixel_grid(features) + 0.75
    read = Correlation(features, others, radius=1, levels=2)(places)
    assert read.shape == (1, 18, 8, 9)
    coarse = nn.functional.avg_pool2d(others, 2)
    for level, (x, y), steps in ((0, (2, 3), (1, -1)), (0, (8, 0), (0, 1)), (1, (4, 5), (-1, 0))):
        scale = (others, coarse)[level]
        at_x, at_y = (
            place / 2**level + step for place, step in zip((x + 0.75, y + 0.75), steps, strict=True)
        )
        expected = 0.0
        for row in range(scale.shape[2]):
            for column in range(scale.shape[3]):
                share = max(0.0, 1 - abs(row - at_y)) * max(0.0, 1 - abs(column - at_x))
                expected += share * float(features[0, :, y, x] @ scale[0, :, row, column]) / 5**0.5
        window = 3 * (steps[0] + 1) + steps[1] + 1
        assert float(read[0, 9 * level + window, y, x]) == pytest.approx(expected, abs=1e-5)


def test_correlation_peaks_where_a_translation_went() -> None:
    """Each place has a feature of its own; moved by (x 2, y -1), the window peaks there, down to maps of one place."""
    features = torch.eye(64).view(1, 64, 8, 8)
    moved = features.roll((-1, 2), (2, 3))
    read = Correlation(features, moved, radius=3)(pixel_grid(features))
    window = read[0, :49, 2:-2, 2:-3].argmax(0)
    assert (window == 7 * (3 + 2) + (3 - 1)).all()
    assert read.isfinite().all()


def test_upsampling_is_convex() -> None:
    """All weight on the middle neighbour repeats the coarse flow, in pixels; any weights keep a uniform one inside."""
    flow = torch.randn(1, 2, 3, 4)
    weights = torch.full((1, 9, 64, 3, 4), -1e9)
    weights[:, 4] = 0
    repeated = flow.repeat_interleave(8, 2).repeat_interleave(8, 3) * 8
    torch.testing.assert_close(raft.upsampled(flow, weights.flatten(1, 2)), repeated)
    uniform = raft.upsampled(torch.ones(1, 2, 3, 4), torch.randn(1, 576, 3, 4))
    torch.testing.assert_close(uniform[..., 8:-8, 8:-8], torch.full((1, 2, 8, 16), 8.0), rtol=1e-5, atol=0)


def test_amt_without_weights_mixes_evenly() -> None:
    """No flow, no residual, equal shares: the mean of the two pictures."""
    network = amt.AmtS().requires_grad_(False)
    for tensor in network.parameters():
        tensor.zero_()
    first, second = torch.rand(2, 1, 3, 64, 64)
    torch.testing.assert_close(network(first, second), (first + second) / 2)


def test_hashed_positions_by_hand() -> None:
    """Three rows stand at 0, 3 and 6 of ten, two columns at 0 and 5; twenty share each place between two."""
    assert musiq.hashed_positions(3, 2).tolist() == [0, 5, 30, 35, 60, 65]
    assert musiq.hashed_positions(1, 20).tolist() == [i // 2 for i in range(20)]


def test_a_published_file_is_known(tmp_path: Path) -> None:
    """Guards the three ways a file can be vouched for."""
    path = tmp_path / CLIP_B32.path
    path.parent.mkdir()
    save_file({"x": torch.zeros(2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert check(tmp_path, CLIP_B32).sha256 == digest
    assert check(tmp_path, CLIP_B32).checked.startswith("not checked: no digest is published")
    known = type(CLIP_B32)(CLIP_B32.path, CLIP_B32.origin, safetensors=(digest,))
    assert check(tmp_path, known).checked == "the published sha256"
    save_file({"x": torch.zeros(2)}, path, {SOURCE: CLIP_B32.pickles[0]})
    assert check(tmp_path, CLIP_B32).checked.startswith("by its own note made from")


def test_another_file_is_refused(tmp_path: Path) -> None:
    """Guards the hashes: a file that is not the published one, or was made from another, is named with both."""
    path = tmp_path / DINO.path
    path.parent.mkdir()
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(
        ModelError, match=rf"is not facebook/dino-vitb16 .* sha256 \w+ is none of {DINO.safetensors[0]}"
    ):
        check(tmp_path, DINO)
    path = tmp_path / RAFT.path
    save_file({"x": torch.zeros(2)}, path, {SOURCE: "c0ffee"})
    with pytest.raises(ModelError, match=f"its {SOURCE} c0ffee is none of {RAFT.pickles[0]}"):
        check(tmp_path, RAFT)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        check(tmp_path, RAFT)


def test_wrong_tensors_are_named(stored: Callable[..., Path]) -> None:
    """Guards weights of another network: what is missing, or of another shape, is said in one line."""
    head = nn.Linear(3, 1)
    with pytest.raises(ModelError, match="lacks 1 tensors of the network, the first is bias"):
        fill(head, stored({"weight": torch.zeros(1, 3)}), {}, CPU)
    with pytest.raises(ModelError, match=r"holds another network: its weight is \(1, 4\), not \(1, 3\)"):
        fill(head, stored({"weight": torch.zeros(1, 4), "bias": torch.zeros(1)}), {}, CPU)


def test_a_folder_gives_the_dimensions_it_can(
    stored: Callable[..., Path], tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    """Guards that nothing is skipped in silence, by the commands either, and that measures of a folder's networks
    measure a film."""
    with pytest.raises(ModelError, match=r"holds none of VBench's weights, the first would be .*dino-vitb16"):
        VBench(tmp_path, CPU)
    for file, name in ((RAFT, "raft"), (AMT, "amt")):
        stored(made_weights(RELEASED[name]["shapes"]), file.path, file.pickles[0])
    stored({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, AESTHETIC_HEAD.path)
    vbench = VBench(tmp_path, CPU)
    assert set(vbench.weights) == {RAFT.path, AMT.path}
    assert set(vbench.missing) == set(DIMENSIONS) - {"dynamic_degree", "motion_smoothness"}
    assert [
        str(tmp_path / "clip-vit-large-patch14") in file for file in vbench.missing["aesthetic_quality"]
    ] == [True]
    film = pictures(3, 64, 64).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    for measure in vbench.measures(Fraction(8)):
        measure.push(film)
        (name,) = measure.about
        assert np.isfinite(measure.curves([slice(0, 3)])[name]).all()
        assert measure.curves([slice(0, 3)])[name][0] == measure.totals()[name]
    no_folder = tmp_path / "file"
    no_folder.touch()
    for command in (("evaluate", "no.mp4"), ("compare", "--world", "flight", "-o", no_folder)):
        _, _, said = cli(*command, "--weights-dir", tmp_path)
        assert said.count("is not measured: it needs") == 4
        assert "note: VBench's imaging_quality is not measured: it needs " in said
