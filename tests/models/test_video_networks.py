"""Every network of diffusers that makes video is filmed with, or refused with a reason."""

import inspect
import re
from pathlib import Path

import diffusers
import pytest

from longtake.models.families import FAMILIES
from longtake.models.refusals import REFUSALS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PINNED = re.search(r"^diffusers==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
# Classes that speak of frames or video, and make none.
OTHERS = {
    "HunyuanImageTransformer2DModel": "pictures",
    "JoyImageEditTransformer3DModel": "pictures",
    "MiniMaxMusic3RVQDepthDecoder": "music",
    "MiniMaxMusic3Transformer1DModel": "music",
    "NucleusMoEImageTransformer2DModel": "pictures",
    "QwenImage21Transformer2DModel": "pictures",
    "RFD4ProteinaTransformer": "proteins",
    "TransformerTemporalModel": "a part of UNet3DConditionModel",
}


def video_networks() -> set[str]:
    """The networks among diffusers' models whose source speaks of frames or video."""
    kinds = {name: getattr(diffusers, name, None) for name in dir(diffusers)}
    return {
        name
        for name, kind in kinds.items()
        if inspect.isclass(kind)
        and issubclass(kind, diffusers.ModelMixin)
        and re.match(r"diffusers\.models\.(transformers|unets)\.", kind.__module__)
        and re.search("frame|video", inspect.getsource(kind), re.IGNORECASE)
    }


@pytest.mark.skipif(
    PINNED is None or diffusers.__version__ != PINNED[1], reason="another diffusers has other networks"
)
def test_every_video_network_is_known() -> None:
    """Guards a network that a new diffusers brings, and nobody looked at."""
    known = FAMILIES.keys() | OTHERS.keys()
    unknown = {
        name for name in video_networks() - known if name.removesuffix("Transformer3DModel") not in REFUSALS
    }
    assert unknown == set()


@pytest.mark.parametrize("name", REFUSALS)
def test_each_is_in_the_documentation(name: str) -> None:
    """Guards a list that tells less than a refusal does; and one that is filmed with by now."""
    table = (ROOT / "docs" / "models.md").read_text().split("## Networks that are not filmed with")[1]
    rows = [row.split("|")[1] for row in table.split("\n## ")[0].splitlines() if row.startswith("| ")]
    assert re.search(rf"\b{name}\b", ",".join(rows))
    assert name not in FAMILIES and f"{name}Transformer3DModel" not in FAMILIES
