"""Losses of a batch of users."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise, starmap
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from zhiyin.core.models import Outputs, Products, Shares

CELLS = 2**20
"""Scores that are held at once by a thread: as many as stay near the processor."""

CELLS_ON_A_GPU = 2**26

PARTS = 4
"""Of the positions, summed up apart: threads share them, and sums are the same however many threads there are."""

# Threads within one product wait for each other, and lose much where cores are shared.
_WORKERS = ThreadPoolExecutor(torch.get_num_threads(), initializer=partial(threadpool_limits, 1, "openmp"))


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


def mean_loss(loss: str, outputs: Outputs, users: int, mean_positions: float | None = None) -> Tensor:
    """() the mean over `users` of the mean loss of their positions, or of its sum over `mean_positions`."""
    owner: Tensor = outputs.owner
    if mean_positions is None:
        weights = 1.0 / (users * torch.bincount(owner, minlength=users).to(torch.get_default_dtype())[owner])
    else:
        weights = torch.full(owner.shape, 1.0 / (users * mean_positions), device=owner.device)
    if isinstance(outputs.scores, Products):
        return full_cross_entropy(outputs.scores, outputs.target, weights.to(outputs.scores.states))
    losses = LOSSES[loss](outputs)
    # No product of vectors, which a GPU would have in fewer digits.
    return (weights.to(losses) * losses).sum()


def full_cross_entropy(scores: Products, target: Shares, weights: Tensor) -> Tensor:
    """() the sum of the cross-entropy of all items at every position, times `weights` (p,).

    A few positions at a time; what is learned from them is summed up before the next ones are scored, as in Wijmans et
    al. (2024), so that no matrix of all scores is held and none is computed twice.
    """
    return cast(
        Tensor,
        _FullCrossEntropy.apply(  # type: ignore[no-untyped-call]
            scores.states, scores.vectors, scores.bias, scores.offsets, scores.moments, target, weights
        ),
    )


class _FullCrossEntropy(torch.autograd.Function):
    """Gradients are computed along with the loss and held until they are asked for."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, vectors: Tensor, bias: Tensor, *given: Any) -> Tensor:
        offsets, moments, target, weights = given
        parts = PARTS if states.device.type == "cpu" else 1
        ends = [len(states) * part // parts for part in range(parts + 1)]
        learn = partial(_learned, Products(states, vectors, bias, offsets, moments), target, weights)
        losses, by_state, by_vector, by_bias = zip(*_WORKERS.map(learn, ends, ends[1:]), strict=True)
        ctx.save_for_backward(torch.cat(by_state), sum(by_vector), sum(by_bias))
        return cast(Tensor, sum(losses))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_state, by_vector, by_bias = (gradients[0] * each for each in ctx.saved_tensors)
        return by_state, by_vector, by_bias, None, None, None, None


@torch.no_grad()
def _learned(
    scores: Products, target: Shares, weights: Tensor, begin: int, end: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss of the positions from `begin` to `end`, and its gradients by their states, by vectors and by biases."""
    states, vectors, bias = scores.states, scores.vectors, scores.bias
    loss, by_state = states.new_zeros(()), torch.empty_like(states[begin:end])
    by_vector, by_bias = torch.zeros_like(vectors), torch.zeros_like(bias)
    rows = max(1, (CELLS if states.device.type == "cpu" else CELLS_ON_A_GPU) // len(vectors))
    starts = [*range(begin, end, rows), end]
    firsts = torch.searchsorted(target.position, torch.tensor(starts, device=states.device)).tolist()
    for chunk, told in zip(starmap(slice, pairwise(starts)), starmap(slice, pairwise(firsts)), strict=True):
        position, item, share = target.position[told] - chunk.start, target.item[told], target.share[told]
        weight = weights[chunk]
        found = torch.addmm(bias, states[chunk], vectors.T).add_(scores.offsets[scores.moments[chunk]])
        found = F.log_softmax(found, 1)
        loss -= (weight[position] * share * found[position, item]).sum()
        found.exp_().index_put_((position, item), -share, accumulate=True)
        by_state[chunk.start - begin : chunk.stop - begin] = weight[:, None] * (found @ vectors)
        by_vector.addmm_(found.T, weight[:, None] * states[chunk])
        by_bias.addmv_(found.T, weight)
    return loss, by_state, by_vector, by_bias
