"""Where networks are trained."""

from functools import cache

import torch

from zhiyin.core.errors import ConfigError


def training_device(wanted: str | None) -> str:
    """The device `wanted`, as PyTorch calls it; None takes the best. Raises `ConfigError` for one that is of no use."""
    if wanted is None:
        return best_device()
    try:
        _try_out(wanted)
        # There is one, whatever it is numbered.
        return "cpu" if torch.device(wanted).type == "cpu" else wanted
    except (RuntimeError, AssertionError, ImportError) as error:  # a build without CUDA fails an assertion
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"device {wanted!r}: PyTorch cannot use it ({reason}); name another, such as cpu, or leave it out"
        ) from error


@cache
def best_device() -> str:
    """A GPU where PyTorch finds one that it can use, otherwise the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    try:
        _try_out("cuda")
    except RuntimeError:  # a GPU that is full, or for which this build of PyTorch has no code
        return "cpu"
    return "cuda"


def _try_out(device: str) -> None:
    some = torch.ones(8, 8, dtype=torch.bfloat16).to(device)
    (some @ some).cpu()
