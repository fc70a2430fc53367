"""AMT-S, which makes the frame between two others.

Li et al., "AMT: All-Pairs Multi-Field Transforms for Efficient Frame Interpolation" (CVPR 2023), at the time half-way;
names of its layers are those of the released weights. A flow pair is two flows in four channels: from the frame between
to the first frame, and to the second.

B pairs of pictures, H W height and width in pixels, h w of some coarser map
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from longtake.evaluation.vbench.sampling import Correlation, pixel_grid, sample

NAMES = {"module.": ""}
MULTIPLE = 16
WIDTHS = (20, 32, 44, 56)
SIDE = 20  # channels that a residual block takes aside
FLOWS = 3
LEVELS, RADIUS = 4, 3


class Bottleneck(nn.Module):
    """Three convolutions beside the identity, or beside a strided projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs // 4, 1)
        self.conv2 = nn.Conv2d(outputs // 4, outputs // 4, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(outputs // 4, outputs, 1)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.InstanceNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = functional.instance_norm(layer(y)).relu()
        return (self.downsample(x) + y).relu()


class CorrelationEncoder(nn.Module):
    """Pictures (B, 3, H, W) to the features (B, 84, H/8, W/8) that are correlated."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, padding=3)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, 1), Bottleneck(32, 32, 1))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, 2), Bottleneck(64, 64, 1))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, 2), Bottleneck(96, 96, 1))
        self.conv2 = nn.Conv2d(96, 84, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = functional.instance_norm(self.conv1(pictures)).relu()
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class ContextEncoder(nn.Module):
    """Pictures (B, 3, H, W) to features at 1/2, 1/4, 1/8 and 1/16 of their sides."""

    def __init__(self) -> None:
        super().__init__()
        for level, (inputs, outputs) in enumerate(zip((3, *WIDTHS[:-1]), WIDTHS, strict=True), 1):
            layers = nn.Sequential(_conv_prelu(inputs, outputs, 2), _conv_prelu(outputs, outputs))
            self.add_module(f"pyramid{level}", layers)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        features = [pictures]
        for layers in self.children():
            features.append(layers(features[-1]))
        return features[1:]


class SideResidual(nn.Module):
    """A residual block whose last channels go through two convolutions more."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv3 = _conv_prelu(width, width), _conv_prelu(width, width)
        self.conv2, self.conv4 = _conv_prelu(SIDE, SIDE), _conv_prelu(SIDE, SIDE)
        self.conv5, self.prelu = nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer, aside in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            y = layer(y)
            y = torch.cat([y[:, :-SIDE], aside(y[:, -SIDE:])], 1)
        return self.prelu(x + self.conv5(y))


class Decoder(nn.Module):
    """Maps of one scale, one behind the other, to a map of twice the sides."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _conv_prelu(inputs, width),
            SideResidual(width),
            nn.ConvTranspose2d(width, outputs, 4, 2, padding=1),
        )

    def forward(self, *maps: Tensor) -> Tensor:
        return self.convblock(torch.cat(maps, 1))


class Update(nn.Module):
    """Corrects features (B, width, h, w) and a flow pair (B, 4, h, w), by correlations at 1/`scale` of their sides."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.convc1 = nn.Conv2d(2 * LEVELS * (2 * RADIUS + 1) ** 2, 64, 1)
        self.convf1, self.convf2 = nn.Conv2d(4, 40, 7, padding=3), nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(64 + 20, 68, 3, padding=1)
        self.gru = _two_layers(68 + 4 + width, 76)
        self.feat_head, self.flow_head = _two_layers(76, width), _two_layers(76, 4)

    def forward(
        self, features: Tensor, flows: Tensor, forth: Correlation, back: Correlation
    ) -> tuple[Tensor, Tensor]:
        coarse = _resized(flows, 1 / self.scale) / self.scale
        to_first, to_second = coarse.chunk(2, 1)
        grid = pixel_grid(coarse)
        # Half-way, the flow from either frame to the other is twice the flow from between.
        agreement = torch.cat([forth(grid + 2 * to_second), back(grid + 2 * to_first)], 1)
        motion = _leaky(self.convf2(_leaky(self.convf1(coarse))))
        motion = _leaky(self.conv(torch.cat([_leaky(self.convc1(agreement)), motion], 1)))
        state = self.gru(torch.cat([motion, coarse, _resized(features, 1 / self.scale)], 1))
        corrected = flows + self.scale * _resized(self.flow_head(state), self.scale)
        return features + _resized(self.feat_head(state), self.scale), corrected


class AmtS(nn.Module):
    """Two pictures (B, 3, H, W) of 0 … 1, sides multiples of 16 from 64, to the one half-way between (B, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = WIDTHS
        self.feat_encoder, self.encoder = CorrelationEncoder(), ContextEncoder()
        self.decoder4 = Decoder(2 * fourth + 1, 2 * fourth, third + 4)
        self.decoder3 = Decoder(3 * third + 4, 3 * third, second + 4)
        self.decoder2 = Decoder(3 * second + 4, 3 * second, first + 4)
        self.decoder1 = Decoder(3 * first + 4, 3 * first, 8 * FLOWS)
        self.update4, self.update3, self.update2 = Update(third, 1), Update(second, 2), Update(first, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * FLOWS, 6 * FLOWS, 3, padding=1),
            nn.PReLU(6 * FLOWS),
            nn.Conv2d(6 * FLOWS, 3, 3, padding=1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        mean = torch.cat([first, second], 2).mean((1, 2, 3), keepdim=True)
        pictures = (first - mean, second - mean)
        correlated = [self.feat_encoder(picture) for picture in pictures]
        forth = Correlation(correlated[0], correlated[1], RADIUS, LEVELS)
        back = Correlation(correlated[1], correlated[0], RADIUS, LEVELS)
        *maps, coarsest = zip(*(self.encoder(picture) for picture in pictures), strict=True)

        half = torch.full_like(coarsest[0][:, :1], 0.5)
        flows, features = self.decoder4(*coarsest, half).tensor_split([4], 1)
        features, flows = self.update4(features, flows, forth, back)
        for decoder, update, context in (
            (self.decoder3, self.update3, maps[2]),
            (self.decoder2, self.update2, maps[1]),
        ):
            change, finer = decoder(features, *_warped(context, flows), flows).tensor_split([4], 1)
            features, flows = update(finer, change + 2 * _resized(flows, 2), forth, back)
        many = self.decoder1(features, *_warped(maps[0], flows), flows)
        return self._combined(pictures, mean, many, 2 * _resized(flows, 2))

    def _combined(self, pictures: tuple[Tensor, Tensor], mean: Tensor, many: Tensor, flows: Tensor) -> Tensor:
        """The pictures moved along each of several flow pairs, mixed, and their mean retouched."""
        to_first, to_second, mix, rest = (
            part.unflatten(1, (FLOWS, -1)) for part in many.split([2 * FLOWS, 2 * FLOWS, FLOWS, 3 * FLOWS], 1)
        )
        mix = mix.sigmoid()
        candidates = []
        for k in range(FLOWS):
            change = torch.cat([to_first[:, k], to_second[:, k]], 1)
            moved = _warped(pictures, flows + change)
            candidates.append(mix[:, k] * moved[0] + (1 - mix[:, k]) * moved[1] + mean + rest[:, k])
        return (torch.stack(candidates).mean(0) + self.comb_block(torch.cat(candidates, 1))).clamp(0, 1)


def _warped(maps: tuple[Tensor, ...], flows: Tensor) -> list[Tensor]:
    """Two maps (B, …, h, w), each read where its flow of the pair (B, 4, h, w) points."""
    grid = pixel_grid(flows)
    return [sample(map_, grid + flow, "border") for map_, flow in zip(maps, flows.chunk(2, 1), strict=True)]


def _conv_prelu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.PReLU(outputs))


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, 76, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(76, outputs, 3, padding=1)
    )


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.1)


def _resized(x: Tensor, scale: float) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
