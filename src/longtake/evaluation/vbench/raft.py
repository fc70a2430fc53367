"""RAFT, which estimates optical flow by looking again and again where two pictures agree.

Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow" (ECCV 2020), the large network; names of
its layers are those of the released weights.

B pairs of pictures, H W height and width in pixels, h w the same in eighths
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from longtake.evaluation.vbench.sampling import Correlation, pixel_grid

NAMES = {"module.": ""}
STRIDE = 8
LEVELS, RADIUS = 4, 4
HIDDEN, CONTEXT = 128, 128


class Residual(nn.Module):
    """Two convolutions beside the identity, or beside a strided projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = norm(outputs), norm(outputs)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        return (self.downsample(x) + y).relu()


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) to features (B, outputs, h, w)."""

    def __init__(self, outputs: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7, 2, padding=3), norm(64)
        self.layer1 = nn.Sequential(Residual(64, 64, 1, norm), Residual(64, 64, 1, norm))
        self.layer2 = nn.Sequential(Residual(64, 96, 2, norm), Residual(96, 96, 1, norm))
        self.layer3 = nn.Sequential(Residual(96, 128, 2, norm), Residual(128, 128, 1, norm))
        self.conv2 = nn.Conv2d(128, outputs, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.norm1(self.conv1(pictures)).relu()
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
    """What was read of the correlation (B, L (2 r + 1)², h, w), and the flow, to features of motion (B, 128, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 126, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        agreement = self.convc2(self.convc1(correlation).relu()).relu()
        motion = self.convf2(self.convf1(flow).relu()).relu()
        return torch.cat([self.conv(torch.cat([agreement, motion], 1)).relu(), flow], 1)


class SeparableGru(nn.Module):
    """A gated recurrent unit of convolutions, along x and then along y."""

    def __init__(self) -> None:
        super().__init__()
        for axis, kernel in ((1, (1, 5)), (2, (5, 1))):
            for gate in "zrq":
                layer = nn.Conv2d(
                    HIDDEN + CONTEXT + 128, HIDDEN, kernel, padding=(kernel[0] // 2, kernel[1] // 2)
                )
                self.add_module(f"conv{gate}{axis}", layer)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        for axis in (1, 2):
            update, reset, new = (self.get_submodule(f"conv{gate}{axis}") for gate in "zrq")
            both = torch.cat([state, x], 1)
            z, r = update(both).sigmoid(), reset(both).sigmoid()
            q = new(torch.cat([r * state, x], 1)).tanh()
            state = (1 - z) * state + z * q
        return state


class FlowHead(nn.Module):
    """The state to a correction of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, state: Tensor) -> Tensor:
        return self.conv2(self.conv1(state).relu())


class UpdateBlock(nn.Module):
    """The layers of one iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gru, self.flow_head = MotionEncoder(), SeparableGru(), FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 9 * STRIDE**2, 1)
        )


class Raft(nn.Module):
    """Two pictures (B, 3, H, W) of 0 … 255, sides multiples of 8 from 64, to the flow between them (B, 2, H, W).

    Flow goes from the first to the second, in pixels, x first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(256, nn.InstanceNorm2d)
        self.cnet = Encoder(HIDDEN + CONTEXT, nn.BatchNorm2d)
        self.update_block = UpdateBlock()

    def forward(self, first: Tensor, second: Tensor, iterations: int = 20) -> Tensor:
        first, second = first / 127.5 - 1, second / 127.5 - 1
        correlation = Correlation(self.fnet(first), self.fnet(second), RADIUS, LEVELS)
        state, context = self.cnet(first).split([HIDDEN, CONTEXT], 1)
        state, context = state.tanh(), context.relu()
        grid = pixel_grid(state)
        flow = torch.zeros_like(grid).expand(len(state), -1, -1, -1)
        block = self.update_block
        for _ in range(iterations):
            motion = block.encoder(flow, correlation(grid + flow))
            state = block.gru(state, torch.cat([context, motion], 1))
            flow = flow + block.flow_head(state)
        return upsampled(flow, block.mask(state) / 4)


def upsampled(flow: Tensor, weights: Tensor) -> Tensor:
    """Flow (B, 2, h, w) in eighths to (B, 2, 8 h, 8 w) in pixels: each a mean of its 3 × 3 coarse neighbours.

    weights: their logits (B, 9 · 8 · 8, h, w), neighbours first, then y and x inside the eighth. (Section 3.3)
    """
    batch, _, height, width = flow.shape
    weights = weights.view(batch, 1, 9, STRIDE, STRIDE, height, width).softmax(2)
    neighbours = functional.unfold(STRIDE * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    fine = (weights * neighbours).sum(2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, STRIDE * height, STRIDE * width)
