"""Generated frames of a moving square, which turns and speeds up in abnormal snippets."""

from __future__ import annotations

import numpy as np

from oddframe.training.data.samplers import TrainingVideo

_SNIPPETS = 9


def square_videos(
    n: int, *, abnormal: bool, seed: int, frames: int, side: int = 24, speed: float = 2.0
) -> tuple[list[TrainingVideo], np.ndarray]:
    """Videos of nine snippets of grey frames (``side`` x ``side``), flattened, pixels in [0, 1].

    A square of 6 pixels moves to the right by half a pixel a frame and wraps around. In the fourth
    to sixth snippet of an abnormal video it moves down by ``speed``. Also returns a mask (n, 9) of
    the abnormal snippets.
    """
    rng, videos = np.random.default_rng(seed), []
    odd = np.zeros((n, _SNIPPETS), dtype=bool)
    odd[:, 3:6] = abnormal
    rows, columns = np.mgrid[:side, :side]
    for video in range(n):
        y, x = rng.uniform(0, side, 2)
        pictures = []
        for snippet in range(_SNIPPETS):
            for _ in range(frames):
                down, across = (speed, 0.0) if odd[video, snippet] else (0.0, 0.5)
                y, x = (y + down) % side, (x + across) % side
                far = np.maximum((rows - y) % side, (columns - x) % side)
                inside = np.clip(6 - far, 0, 1) * np.clip(far + 1, 0, 1)
                pictures.append(0.2 + 0.6 * inside + rng.normal(0, 0.02, (side, side)))
        stacks = np.array(pictures, dtype=np.float32).reshape(_SNIPPETS, -1)
        videos.append(TrainingVideo((stacks,), abnormal))
    return videos, odd
