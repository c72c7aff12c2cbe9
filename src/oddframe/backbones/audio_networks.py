"""The networks of audio backbones in PyTorch, for graphics cards and to compare with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.audio import AISFX_CHANNELS, VGGISH_BLOCKS
from oddframe.backbones.weights import load_weights, read_state_dict


class Aisfx(nn.Module):
    """(N, 100, 96) -> (N, 512); batch normalisation is folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((1, *AISFX_CHANNELS), AISFX_CHANNELS, strict=False))
        self.conv1 = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.conv2 = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for _, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for number, (first, second) in enumerate(zip(self.conv1, self.conv2, strict=True)):
            x = F.relu(second(F.relu(first(x))))
            if number < len(AISFX_CHANNELS) - 1:
                x = F.max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)


class VGGish(nn.Module):
    """(N, 1, 96, 64) log-mel -> (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in VGGISH_BLOCKS:
            for out_channels in block:
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        # The weights come from TensorFlow, where channels are the last axis.
        out: Tensor = self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))
        return out


def load_network(name: str, weights: Path) -> nn.Module:
    """Load ``aisfx`` or ``vggish``: spectrograms (N, ...) -> features (N, D)."""
    if name == "aisfx":
        return load_weights(Aisfx(), read_state_dict(weights, "aisfx"), "aisfx")
    return load_weights(VGGish(), read_state_dict(weights, "VGGish"), "VGGish")
