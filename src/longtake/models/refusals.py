"""Networks that cannot be filmed with, and why; docs/models.md has them with what they are. Without torch."""

from __future__ import annotations

ONE_TIMESTEP = "it takes one timestep for the whole clip, not one for each latent frame"
NO_ADAPTER = "it could take a timestep for each latent frame, but longtake has no adapter for it yet"
FROM_PICTURES = "it films from pictures that are given, at places of a clip; take a text-to-video model"
FROM_FILM = "it changes a film that is given; take a text-to-video model"
CAMERA = "it films along a camera path from a photo, which a film here cannot give"
COSMOS_1 = "it is Cosmos 1's, whose learnt positions count from a clip's beginning, and a window moves on"
REFINES = "it makes the film of another network finer; take that network"
HISTORY = (
    "it sees a history of its own beside a clip of one level, in counts of frames and in resolutions that are fixed;"
    " its own pipeline makes long films"
)
TWO_LEVELS = "it is told the level that a step goes to as well, and a film's velocity has none"

# By their classes' names, without Transformer3DModel at their ends.
REFUSALS = {
    **dict.fromkeys(("Allegro", "EasyAnimate", "Latte", "Mochi"), ONE_TIMESTEP),
    **dict.fromkeys(("UNet3DConditionModel", "UNetMotionModel"), ONE_TIMESTEP),
    "Kandinsky6": NO_ADAPTER,
    **dict.fromkeys(("ChronoEdit", "ConsisID", "I2VGenXLUNet"), FROM_PICTURES),
    "UNetSpatioTemporalConditionModel": FROM_PICTURES,
    "SanaWM": CAMERA,
    "AutoencoderKLCosmos": COSMOS_1,
    **dict.fromkeys(("WanAnimate", "WanAnimate2", "WanVACE"), FROM_FILM),
    **dict.fromkeys(("Kandinsky6SR", "SanaWMLTX2Refiner"), REFINES),
    **dict.fromkeys(("Helios", "HunyuanVideoFramepack"), HISTORY),
    **dict.fromkeys(("AnyFlow", "AnyFlowFAR"), TWO_LEVELS),
    "LongCatVideo": "diffusers has no such network, and longtake runs no code of a model's folder",
}
