"""The vision transformers of DINO and CLIP, and the block that MUSIQ shares with them.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), as Caron et al. (DINO, ICCV 2021) and Radford et al.
(CLIP, ICML 2021) release it. Names of the files are those of the Hugging Face hub.

B pictures, H W height and width in pixels, T tokens, D width
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

DINO_NAMES = {
    "embeddings.cls_token": "token",
    "embeddings.position_embeddings": "positions",
    "embeddings.patch_embeddings.projection": "patches",
    "encoder.layer.": "blocks.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention": "attention",
    "attention.output.dense": "attention.out",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "layernorm": "norm",
}
CLIP_NAMES = {
    "vision_model.": "",
    "embeddings.class_embedding": "token",
    "embeddings.position_embedding.weight": "positions",
    "embeddings.patch_embedding": "patches",
    "encoder.layers.": "blocks.",
    "layer_norm": "norm",
    "self_attn": "attention",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "mlp.": "",
    "pre_layrnorm": "first_norm",
    "post_layernorm": "norm",
    "visual_projection": "projection",
}


class Attention(nn.Module):
    """Of every token to every token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Tokens (B, T, D) to tokens, normalised before attention and before the two layers."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        epsilon: float = 1e-6,
        activation: Callable[[Tensor], Tensor] = functional.gelu,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))


class Dino(nn.Module):
    """Pictures (B, 3, H, W) to features (B, D), for any sides of at least a patch; as wide as ViT-B/16 by default."""

    def __init__(
        self, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16, side: int = 14
    ) -> None:
        super().__init__()
        self.side = side
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + side**2, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 4 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patches(pictures)
        tokens = patches + self._positions(*patches.shape[-2:])
        first = (self.token + self.positions[:, :1]).expand(len(tokens), -1, -1)
        return self.norm(self.blocks(torch.cat([first, tokens.flatten(2).transpose(1, 2)], 1))[:, 0])

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Of another grid: as released, its scale is that of a tenth of a patch more than it has."""
        grid = self.positions[:, 1:].transpose(1, 2).unflatten(-1, (self.side, self.side))
        if rows == columns == self.side:
            return grid
        scale = ((rows + 0.1) / self.side, (columns + 0.1) / self.side)
        return functional.interpolate(grid, scale_factor=scale, mode="bicubic")


class ClipImage(nn.Module):
    """CLIP's pictures (B, 3, H, W) of `side` patches a side to features (B, features), not normalised."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, side: int, features: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch, bias=False)
        self.token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros(1 + side**2, width))
        self.first_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, 4 * width, 1e-5, quick_gelu) for _ in range(depth)))
        self.projection = nn.Linear(width, features, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patches(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(patches), 1, -1), patches], 1) + self.positions
        return self.projection(self.norm(self.blocks(self.first_norm(tokens))[:, 0]))


def clip_b32() -> ClipImage:
    """The picture half of CLIP ViT-B/32."""
    return ClipImage(width=768, depth=12, heads=12, patch=32, side=7, features=512)


def clip_l14() -> ClipImage:
    """The picture half of CLIP ViT-L/14."""
    return ClipImage(width=1024, depth=24, heads=16, patch=14, side=16, features=768)


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)
