"""Losses of a batch, one number a user, so that private training can clip per user."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from zhiyin.core.models import Outputs


def mse(outputs: Outputs) -> Tensor:
    return cast(Tensor, (outputs.scores - outputs.target) ** 2)


def bce(outputs: Outputs) -> Tensor:
    """Binary cross-entropy of the positive against sampled negatives; scores (p, 1 + k), positive first."""
    scores: Tensor = outputs.scores
    return -F.logsigmoid(scores[:, 0]) - F.logsigmoid(-scores[:, 1:]).mean(1)


def bpr(outputs: Outputs) -> Tensor:
    """Bayesian personalised ranking (Rendle et al., 2009): -log sigmoid(positive - negative)."""
    scores: Tensor = outputs.scores
    return -F.logsigmoid(scores[:, :1] - scores[:, 1:]).mean(1)


def cross_entropy(outputs: Outputs) -> Tensor:
    return F.cross_entropy(outputs.scores, outputs.target, reduction="none")


LOSSES: dict[str, Callable[[Outputs], Tensor]] = {
    "mse": mse,
    "bce": bce,
    "bpr": bpr,
    "cross-entropy": cross_entropy,
}


def per_user(losses: Tensor, owner: Tensor, users: int, mean_positions: float | None = None) -> Tensor:
    """(users,) the mean loss of each user's positions, or their sum over `mean_positions`."""
    sums = torch.zeros(users, dtype=losses.dtype, device=losses.device).index_add_(0, owner, losses)
    if mean_positions is not None:
        return sums / mean_positions
    return sums / torch.bincount(owner, minlength=users).clamp(min=1)
