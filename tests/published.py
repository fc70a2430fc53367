"""Published configurations of models as folders of JSON files, without weights."""

import json
from pathlib import Path

CONFIGS = Path(__file__).parent / "data" / "configs"
FILES = {
    "model_index": "model_index.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
    "scheduler": "scheduler/scheduler_config.json",
}


def json_folder(config: Path, folder: Path) -> Path:
    """The folder of a file of tests/data/configs: what `plan` fetches of a model of the hub."""
    for part, content in json.loads(config.read_text()).items():
        path = folder / FILES.get(part, f"{part}/config.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder
