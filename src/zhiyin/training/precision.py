"""How exactly numbers are kept while a network trains, by where it does."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ON_A_GPU = torch.bfloat16


@contextmanager
def precision(device: str) -> Iterator[None]:
    """On a CPU nothing changes. On a GPU products within a network are in bfloat16, in which attention is fused (Dao et
    al., 2022), and all others in TF32; sums and parameters stay in float32.
    """
    if device == "cpu":
        yield
        return
    earlier = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast(device.partition(":")[0], ON_A_GPU):
            yield
    finally:
        torch.set_float32_matmul_precision(earlier)
