"""What is read of the configurations of models with joint attention: CogVideoX, HunyuanVideo and Kandinsky 5.

Without torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, AliasPath, Field

from longtake.models.base import Count
from longtake.models.configs import (
    STARTS_FROM_IMAGE,
    Latents,
    NetworkConfig,
    Off,
    Positive,
    SchedulerConfig,
    TextEncoderConfig,
    VaeConfig,
)

Sides = Annotated[list[Count], Field(min_length=3, max_length=3)]


class CogVideoXConfig(NetworkConfig):
    """Of a CogVideoX transformer. The first model adds its positions, the later ones turn by them; of these the latest
    joins two latents into one token."""

    text_width: Count = Field(4096, alias="text_embed_dim")
    prompt_tokens: Count = Field(226, alias="max_text_seq_length")
    out_channels: Count | None = None
    patch_size: Count = 2
    patch_size_t: Count | None = None
    use_rotary_positional_embeddings: bool = False
    use_learned_positional_embeddings: bool = False
    ofs_embed_dim: Count | None = None

    @property
    def patch(self) -> int:
        return self.patch_size

    @property
    def joined_latents(self) -> int:
        return self.patch_size_t or 1

    @property
    def variant(self) -> str:
        return "joined" if self.patch_size_t else "turned" if self.use_rotary_positional_embeddings else ""

    @property
    def refusal(self) -> str | None:
        extra = self.use_learned_positional_embeddings or self.ofs_embed_dim
        return (
            STARTS_FROM_IMAGE
            if extra or self.in_channels != (self.out_channels or self.in_channels)
            else None
        )

    def unfit(self, scheduler: SchedulerConfig) -> str | None:
        assert isinstance(scheduler, CogVideoXSchedulerConfig)
        trained = 1.0 if self.use_rotary_positional_embeddings else 3.0
        if scheduler.snr_shift_scale == trained:
            return None
        said = f"{scheduler.snr_shift_scale:g}"
        return f"its scheduler says snr_shift_scale {said}, this network was trained with {trained:g}"


class CogVideoXSchedulerConfig(SchedulerConfig):
    """Of CogVideoX' schedulers: the one schedule that all of these networks were trained with. How it is stepped
    through, deterministically or not, is the film's."""

    num_train_timesteps: Literal[1000] = 1000
    beta_start: Annotated[float, Field(ge=0.00085, le=0.00085)] = 0.00085
    beta_end: Annotated[float, Field(ge=0.012, le=0.012)] = 0.012
    beta_schedule: Literal["scaled_linear"] = "scaled_linear"
    prediction_type: Literal["v_prediction"]
    rescale_betas_zero_snr: Literal[True]
    timestep_spacing: Literal["trailing"]
    set_alpha_to_one: Literal[True] = True
    clip_sample: Literal[False]
    trained_betas: Off = None
    snr_shift_scale: Positive = 3.0

    def given_shift(self, class_name: str) -> float | None:
        return self.snr_shift_scale


class HunyuanVideoConfig(NetworkConfig):
    """Of a HunyuanVideo transformer."""

    text_width: Count = Field(4096, alias="text_embed_dim")
    out_channels: Count | None = None
    patch_size: Count = 2
    patch_size_t: Literal[1] = 1
    image_condition_type: str | None = None

    @property
    def patch(self) -> int:
        return self.patch_size

    @property
    def refusal(self) -> str | None:
        given = self.image_condition_type or self.in_channels != (self.out_channels or self.in_channels)
        return STARTS_FROM_IMAGE if given else None


class HunyuanVideo15Config(NetworkConfig):
    """Of a HunyuanVideo 1.5 transformer, which takes a picture's latents, and whether there is one, beside its own."""

    text_width: Count = Field(3584, alias="text_embed_dim")
    out_channels: Count
    patch_size: Count = 1
    patch_size_t: Literal[1] = 1
    target_size: Count = 640
    use_meanflow: bool = False

    @property
    def latent_channels(self) -> int:
        return self.out_channels

    @property
    def patch(self) -> int:
        return self.patch_size

    @property
    def variant(self) -> str:
        return "720p" if self.target_size > 640 else ""

    @property
    def refusal(self) -> str | None:
        if self.in_channels != 2 * self.out_channels + 1:
            return f"its network takes {self.in_channels} channels, not a picture's latents beside its own"
        return (
            "it is told where a step ends as well, which a film's latents do not share"
            if self.use_meanflow
            else None
        )


class Kandinsky5Config(NetworkConfig):
    """Of a Kandinsky 5 transformer, which may take a picture's latents too, and whether there is one."""

    in_channels: Count = Field(alias="in_visual_dim")
    text_width: Count = Field(3584, alias="in_text_dim")
    pooled_width: Count | None = Field(768, alias="in_text_dim2")
    patch_size: Sides
    attention_type: str = "regular"

    @property
    def patch(self) -> int:
        return max(self.patch_size[1:])

    @property
    def refusal(self) -> str | None:
        if self.patch_size[0] != 1:
            return "its network joins latent frames into one token, so they share a noise level"
        if self.attention_type != "regular":
            return f"its network looks at a few places alone ({self.attention_type}), for clips of one length"
        return None


class CogVideoXVaeConfig(VaeConfig):
    """Of AutoencoderKLCogVideoX."""

    latent_channels: Count = 16
    block_out_channels: list[Count]
    temporal_compression_ratio: Literal[4] = 4
    scaling_factor: Positive
    shift_factor: float | None = None

    @property
    def latents(self) -> Latents:
        return Latents(self.latent_channels, 2 ** (len(self.block_out_channels) - 1), 4)

    @property
    def delay_latents(self) -> int:
        return 2


class HunyuanVideoVaeConfig(VaeConfig):
    """Of AutoencoderKLHunyuanVideo."""

    latent_channels: Count = 16
    spatial_compression_ratio: Count = 8
    temporal_compression_ratio: Literal[4] = 4
    scaling_factor: Positive

    @property
    def latents(self) -> Latents:
        return Latents(self.latent_channels, self.spatial_compression_ratio, 4)

    @property
    def delay_latents(self) -> int:
        return 4


class HunyuanVideo15VaeConfig(HunyuanVideoVaeConfig):
    """Of AutoencoderKLHunyuanVideo15."""

    latent_channels: Count = 32
    spatial_compression_ratio: Count = 16

    @property
    def delay_latents(self) -> int:
        return 0


class LanguageModelConfig(TextEncoderConfig):
    """Of a Llama or a Qwen, by itself or as the half of a model that sees, too."""

    width: Count = Field(
        validation_alias=AliasChoices("hidden_size", AliasPath("text_config", "hidden_size"))
    )
    vocab_size: Count = Field(
        validation_alias=AliasChoices("vocab_size", AliasPath("text_config", "vocab_size"))
    )
