"""A model's folder is looked through once a film, and a family's code is imported for its own films alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FILM = {
    "by script": """
from longtake import LongTake
from longtake.options import FilmOptions
from longtake.takes import Take
model = LongTake.from_pretrained(folder)
options = FilmOptions(prompt="a red car", num_frames=5, width=32, height=32, num_inference_steps=2)
Take(options.resolved(model.model.spec), "film.mp4").shoot(model)
""",
    "by command": """
from longtake.cli import main
sys.argv = ["longtake", "generate", "a red car", "--model", folder, "-o", "film.mp4", "--frames", "5"]
sys.argv += ["--size", "32x32", "--steps", "2"]
with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
    main()
""",
}
WATCHED = """
import collections, contextlib, json, os, sys, threading
folder, opened = sys.argv[1], collections.Counter()
def hook(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder) and str(arguments[0]).endswith(".json"):
        frame = sys._getframe(1)
        while frame and frame.f_globals["__name__"].split(".")[0] not in ("longtake", "diffusers", "transformers"):
            frame = frame.f_back
        hashing = threading.current_thread().name == "hashing"
        if frame and frame.f_globals["__name__"].startswith("longtake") and not hashing:
            opened[os.path.relpath(arguments[0], folder)] += 1
sys.addaudithook(hook)
{film}
assert os.path.isfile("film.mp4")
json.dump([opened, sorted(name for name in sys.modules if name.startswith(("longtake", "peft")))], sys.stdout)
"""


@pytest.mark.parametrize(("kind", "film"), [("embedded", "by command"), ("wan", "by script")])
def test_each_json_is_read_once(
    kind: str, film: str, wan_folder: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards films that look through their model's folder again: libraries read what they need themselves, we read
    every file once, and the hash of a model, which no film waits for, once more. No film imports the code of another
    family than its own, and the command line not even peft, which only training needs."""
    folder = {"embedded": tubelet_folder, "wan": wan_folder}[kind]
    code = WATCHED.replace("{film}", FILM[film])
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    opened, modules = json.loads(done.stdout)
    assert set(opened.values()) == {1} and len(opened) >= 7
    assert {name for name in modules if "open_sora" in name or "skyreels" in name} == set()
    assert ("longtake.models.wan.codec" in modules) == (kind == "wan")
    assert ("peft" in modules) == (film == "by script")
