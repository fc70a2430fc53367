"""A family whose record says other things than Wan's: more parts, parts that are left out, a schedule of its own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.errors import ModelError
from longtake.models.adapter import Adapter
from longtake.models.families import FAMILIES
from longtake.models.load import check_prompts, load_model
from longtake.models.places import open_model
from longtake.models.records import TextEncoder, encoder, tokenizer
from longtake.training.data import hashes

KIND, INDEX = "WanTransformer3DModel", "model_index.json"


@pytest.fixture
def folder(wan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a family with two text encoders, whose sound is left out."""
    text = FAMILIES[KIND].text
    second = {"text_encoder_2": encoder("UMT5EncoderModel"), "tokenizer_2": tokenizer()}
    changed = replace(
        FAMILIES[KIND],
        text=TextEncoder(text.code, {**text.parts, **second}, text.config, most_tokens=9),
        left_out={"vocoder": "sound", "feature_extractor": None, "image_encoder": None},
        schedule="karras",
    )
    monkeypatch.setitem(FAMILIES, KIND, changed)
    made = shutil.copytree(wan_folder, tmp_path / "model")
    index = json.loads((made / INDEX).read_text())
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(made / part, made / f"{part}_2")
        index[f"{part}_2"] = index[part]
    index |= {"vocoder": ["ltx2", "LTX2Vocoder"], "image_encoder": ["transformers", "CLIPVisionModel"]}
    (made / INDEX).write_text(json.dumps(index))
    return made


def test_its_parts_are_loaded_and_the_others_named(folder: Path) -> None:
    """Guards the way from the record to the adapter."""
    model = load_model(folder)
    assert isinstance(model, Adapter)
    assert [*model.text_encoder.parts] == ["text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"]
    assert (model.spec.left_out, model.spec.schedule, model.spec.max_prompt_tokens) == (
        ("sound",),
        "karras",
        9,
    )
    assert model.encode_prompt(["a red car"]).mask.sum() == 4
    check_prompts(folder, ["a red car"])


def test_all_its_parts_count(folder: Path) -> None:
    """Guards parts that are missing, and films and text that another part would make otherwise."""
    before, text = open_model(folder).sha256, hashes(folder)["text_encoder"]
    words = folder / "tokenizer_2" / "tokenizer.json"
    words.write_bytes(words.read_bytes() + b"\n")
    assert open_model(folder).sha256 != before and hashes(folder)["text_encoder"] != text
    (folder / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"text_encoder_2/model\.safetensors is missing"):
        open_model(folder).check()
    words.unlink()
    with pytest.raises(ModelError, match=r"tokenizer_2/tokenizer\.json is missing"):
        open_model(folder).check()
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "tokenizer_2": [None, None]}))
    with pytest.raises(ModelError, match="names no tokenizer_2"):
        open_model(folder)
