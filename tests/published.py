"""Published configurations of models as folders of JSON files, without weights."""

import json
from pathlib import Path
from typing import Any

from longtake.models.folder import ModelFolder

CONFIGS = Path(__file__).parent / "data" / "configs"
FILES = {
    "model_index": "model_index.json",
    "modular_model_index": "modular_model_index.json",
    "longtake": "longtake.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
    "tokenizer_2": "tokenizer_2/tokenizer_config.json",
    "scheduler": "scheduler/scheduler_config.json",
}


NO_PARTS = "hub", "source"


def json_folder(config: Path, folder: Path) -> Path:
    """The folder of a file of tests/data/configs: what `plan` fetches of a model of the hub."""
    for part, content in bundle(config).items():
        path = folder / FILES.get(part, f"{part}/config.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def model_folder(config: Path, folder: Path) -> ModelFolder:
    """The same, opened, under the name that it has on the hub."""
    return ModelFolder(json_folder(config, folder), hub=hub_name(config))


def bundle(config: Path) -> dict[str, Any]:
    """The parts of a file of tests/data/configs; for one that another file of it has, there is the name of that."""
    parts = read(config)
    return {
        part: read(CONFIGS / f"{content}.json")[part] if isinstance(content, str) else content
        for part, content in parts.items()
        if part not in NO_PARTS
    }


def hub_name(config: Path) -> str | None:
    """The name in `longtake models` of the model that has all the parts of a file. None if it has none."""
    name: str | None = read(config).get("hub")
    return name


def read(config: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(config.read_text())
    return content
