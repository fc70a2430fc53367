"""The house rules, read off the source: who may import whom, and what may not be there at all."""

import ast
import importlib.metadata
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import longtake

ROOT = Path(longtake.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
LONGEST_FILE = 350
LONGEST_HEART = 60

# Room: the rooms of longtake it may import. A room is a module, or a whole folder.
ARROWS = {
    "errors": set(),
    "ladder": {"errors"},
    "solvers": set(),
    "progressive": {"ladder", "solvers"},
    "files": {"errors"},
    "runs": {"errors", "files"},
    "progress": set(),
    "names": {"files"},
    "frames": {"errors"},
    "schedules": {"errors", "models.base"},
    "noise": {"errors", "schedules", "models.base"},
    "samplers": {"errors", "ladder", "plan", "progressive", "solvers"},
    "plan": {"errors", "frames", "ladder"},
    "guidance": {"errors", "solvers", "models.text"},
    "methods": {"ladder", "noise", "plan", "progressive", "samplers", "solvers"},
    "ends": {"ladder", "progressive", "samplers"},
    "given": {"errors", "frames", "plan", "schedules", "models.base"},
    "presets": {
        "errors",
        "options",
        "models.families",
        "models.records",
        "models.open_sora.presets",
        "models.open_sora.shift",
        "models.open_sora.spec",
    },
    "machine": set(),
    "memory": {
        "errors",
        "guidance",
        "options",
        "models.adapter",
        "models.base",
        "models.card.empty",
        "models.folder",
        "models.card.placement",
        "models.card.quantize",
        "models.card.tally",
        "models.text",
    },
    "provenance": {"", "machine", "pipeline"},
    "doctor": {"", "machine", "pipeline", "video", "models.places"},
    "start": {"errors", "files", "frames", "options", "video"},
    "drafts": {"errors", "files", "options", "pictures", "progress", "video", "models.base"},
    "joins": {
        "drafts",
        "errors",
        "files",
        "options",
        "pipeline",
        "progress",
        "provenance",
        "shot",
        "start",
        "states",
        "video",
        "models.base",
    },
    "takes": {
        "drafts",
        "errors",
        "files",
        "frames",
        "joins",
        "options",
        "pipeline",
        "provenance",
        "seams",
        "shot",
        "start",
        "states",
        "video",
        "models.base",
    },
    "seams": {"pictures", "progress", "video"},
    "preview": {
        "errors",
        "given",
        "options",
        "progress",
        "runs",
        "models.base",
        "models.folder",
        "models.weights",
    },
    "retakes": {
        "cues",
        "drafts",
        "errors",
        "files",
        "frames",
        "given",
        "joins",
        "options",
        "provenance",
        "start",
        "states",
        "takes",
        "video",
        "models.base",
    },
    "batch": {
        "cues",
        "errors",
        "files",
        "given",
        "options",
        "prompts",
        "provenance",
        "start",
        "states",
        "takes",
        "values",
        "video",
        "models.base",
        "models.folder",
    },
    "video": {"errors", "files"},
    "finite": {"errors"},
    "models": {"errors", "files", "finite", "progress", "schedules", "values"},
    "prompts": set(),
    "values": {"errors"},
    "option_files": {"errors", "files", "values"},
    "cues": {"errors", "frames", "option_files", "prompts", "values"},
    "footprint": {"options", "models.base", "models.codecs"},
    "said": {"errors", "files", "values"},
    "states": {
        "errors",
        "files",
        "pictures",
        "progressive",
        "provenance",
        "said",
        "shot",
        "models.base",
    },
    "options": {
        "cues",
        "errors",
        "frames",
        "given",
        "plan",
        "prompts",
        "schedules",
        "values",
        "models.base",
    },
    "pictures": {"finite"},
    "shot": {
        "cues",
        "ends",
        "errors",
        "finite",
        "given",
        "guidance",
        "methods",
        "noise",
        "options",
        "pictures",
        "progressive",
        "samplers",
        "solvers",
        "models.base",
        "models.text",
    },
    "pipeline": {
        "options",
        "models.card.placement",
        "pictures",
        "shot",
        "models.base",
        "models.folder",
        "models.load",
        "models.lora",
        "models.places",
    },
    "cli": {
        "",
        "batch",
        "cues",
        "doctor",
        "errors",
        "files",
        "footprint",
        "frames",
        "given",
        "noise",
        "option_files",
        "options",
        "pipeline",
        "plan",
        "presets",
        "preview",
        "progress",
        "prompts",
        "provenance",
        "retakes",
        "runs",
        "said",
        "schedules",
        "shot",
        "start",
        "states",
        "takes",
        "values",
        "video",
        "models.base",
        "models.families",
        "models.folder",
        "models.load",
        "memory",
        "models.parts",
        "models.card.placement",
        "models.places",
        "models.records",
        "models.open_sora.folder",
        "models.open_sora.spec",
        "training",
        "worlds",
        "evaluation",
    },
    "__main__": {"cli"},
    "": {"cues", "options", "pipeline", "takes"},
}
# Wings: the rooms of longtake they may not import.
WINGS = {"training": {"cli", "worlds"}, "evaluation": {"cli", "worlds"}, "worlds": {"cli"}}
DIFFUSERS = {"models", "noise", "guidance", "training"}


def module_name(path: Path) -> str:
    """'models.load' for models/load.py, 'models' for models/__init__.py, '' for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room(module: str) -> str:
    return module.split(".")[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, as a full dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            if (ROOT.parent / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def own_imports(path: Path) -> set[str]:
    """The modules of longtake that a file imports, without 'longtake.'; a name of the package itself counts
    as ''."""
    names = set()
    for name in imports(path):
        if room(name) == "longtake":
            inner = name.removeprefix("longtake").removeprefix(".")
            is_module = (ROOT / inner.replace(".", "/")).is_dir() or (
                ROOT / f"{inner.replace('.', '/')}.py"
            ).is_file()
            names.add(inner if is_module else inner.rpartition(".")[0])
    return names


def users(package: str) -> set[str]:
    """The modules of longtake that import a third-party package."""
    return {module_name(path) for path in SOURCES if package in {room(name) for name in imports(path)}}


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            assert node.end_lineno is not None
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_rooms_open_only_the_doors_they_have(path: Path) -> None:
    """Guards the arrows of the house: a new one needs a decision, made here."""
    own, inside = own_imports(path), module_name(path)
    if room(inside) in WINGS:
        assert not {room(name) for name in own} & WINGS[room(inside)]
        return
    allowed = ARROWS[room(inside)]
    assert {
        name for name in own if name not in allowed and room(name) not in {*allowed - {""}, room(inside)}
    } == set()


def test_no_world_knows_another() -> None:
    """Guards worlds that are added and taken away alone: by a package, and a line of the registry."""
    for path in SOURCES:
        inside = module_name(path).split(".")
        for name in own_imports(path):
            if name.startswith("worlds.") and (ROOT / "worlds" / name.split(".")[1]).is_dir():
                assert room(inside[0]) in {"cli", "training"} or inside[:2] == name.split(".")[:2], path


def test_only_video_opens_video_files() -> None:
    """Guards that PyAV is known in one place."""
    assert {room(module) for module in users("av")} == {"video"}


def test_only_some_rooms_know_diffusers() -> None:
    """Guards that a change of diffusers, or a model from elsewhere, touches few files."""
    assert {room(module) for module in users("diffusers") | users("transformers")} <= DIFFUSERS


def test_the_heart_is_pure_and_small() -> None:
    """Guards the heart: torch and a ladder of the standard library, a page of code and its imports."""
    heart, ladder = ROOT / "progressive.py", ROOT / "ladder.py"
    assert {room(name) for name in imports(heart)} <= {"torch", "collections", "dataclasses", "longtake"}
    lines = code_lines(heart) + code_lines(ladder)
    assert lines - len([*imports(heart), *imports(ladder)]) <= LONGEST_HEART


def test_frames_and_plan_need_the_standard_library_alone() -> None:
    """Guards planning without torch."""
    for name in ("errors", "frames", "ladder", "plan"):
        outside = {room(name) for name in imports(ROOT / f"{name}.py")} - {"longtake"}
        assert outside <= {
            "math",
            "dataclasses",
            "fractions",
            "collections",
            "itertools",
            "typing",
            "__future__",
        }


def calls(path: Path) -> set[str]:
    """The dotted names of everything a file calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_only_the_command_line_prints_or_exits() -> None:
    """Guards libraries that talk; training and evaluation are commands that report as they go."""
    for path in SOURCES:
        if room(module_name(path)) in {"cli", "training", "evaluation"}:
            continue
        assert not calls(path) & {"print", "exit", "quit", "sys.exit", "os._exit"}, path


def test_nothing_runs_code_from_files() -> None:
    """Guards the safety rules: no pickle, no torch.load, no remote code, no eval."""
    for path in SOURCES:
        assert not {"pickle", "cloudpickle", "dill", "joblib", "shelve"} & {
            room(name) for name in imports(path)
        }, path
        assert not calls(path) & {"eval", "exec", "torch.load", "torch.save"}, path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for keyword in (node for node in ast.walk(tree) if isinstance(node, ast.keyword)):
            assert keyword.arg not in {"trust_remote_code", "allow_pickle", "weights_only"}, path


def test_no_file_is_too_long() -> None:
    """Guards files that can be read in one sitting."""
    lengths = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_torchvision_is_nowhere_among_the_dependencies() -> None:
    """Guards the environment: torchvision's wheel drags in another torch and gigabytes of CUDA."""
    seen: set[str] = set()
    waiting = {("longtake", frozenset({"world", "train", "evaluate", "dev"}))}
    while waiting:
        name, extras = waiting.pop()
        seen.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requirements):
            marker = requirement.marker
            wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})
            key = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if wanted and key not in seen:
                waiting.add((key, frozenset(requirement.extras)))
    assert len(seen) > 20
    assert not seen & {"torchvision", "torchaudio", "timm", "lpips"}
