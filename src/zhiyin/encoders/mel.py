"""Sound as energy over time and frequency."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

LOUDEST = 0.5
"""To which sounds are brought, so that one recording at two volumes is one sound."""

QUIETEST = 1e-4
"""What stays below, the noise of 16 bits among it, is silence."""


def audible(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """`samples` brought to one volume; none where all is silence or no number."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not QUIETEST < peak < np.inf:
        return samples[:0]
    return samples * np.float32(LOUDEST / peak)


def log_mel(samples: NDArray[np.float32], rate: int, frame: int, hop: int, bands: int) -> NDArray[np.float32]:
    """(frames, bands): log10(1 + 10^4 power) in triangles of weight 1, even on the mel scale up to `rate` / 2.

    The first frame is centred at the first sample. As Essentia computes it (Bogdanov et al., 2013).
    """
    padded = np.pad(samples, (frame // 2, frame))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[: len(samples) + 1 : hop]
    power = np.abs(np.fft.rfft(frames * get_window("hann", frame))) ** 2
    energy: NDArray[np.float32] = np.log10(1.0 + 1e4 * power @ _triangles(rate, frame, bands).T).astype(np.float32)
    return energy


@cache
def _triangles(rate: int, frame: int, bands: int) -> NDArray[np.float64]:
    """(bands, frame // 2 + 1)"""
    edges = np.linspace(0.0, _mel(rate / 2), bands + 2)[:, None]
    bins: NDArray[Any] = _mel(np.arange(frame // 2 + 1) * rate / frame)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    normed: NDArray[np.float64] = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return normed


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(hertz / 700.0)
