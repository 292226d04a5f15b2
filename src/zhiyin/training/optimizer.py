"""What a training step changes: of tables of which it meets few rows, those rows alone."""

from collections.abc import Set

import torch
from torch import Tensor, nn

from zhiyin.core.models import Schedule


class Optimizer:
    """AdamW (Loshchilov & Hutter, 2019); for the parameters called `by_row`, whose gradients are sparse, Adam.

    What a row has met so far fades when it is met again, not in between, and nothing decays its weights.
    """

    def __init__(self, module: nn.Module, schedule: Schedule, by_row: Set[str]) -> None:
        self._clip_norm = schedule.clip_norm
        self._parameters = list(module.parameters())
        named = dict(module.named_parameters())
        dense = [parameter for name, parameter in named.items() if name not in by_row]
        rows = [parameter for name, parameter in named.items() if name in by_row]
        rate = schedule.learning_rate
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(dense, lr=rate, weight_decay=schedule.weight_decay),
            *([torch.optim.SparseAdam(rows, lr=rate)] if rows else []),
        ]

    def step(self, loss: Tensor) -> None:
        """Down the slope of `loss`, made no steeper than the schedule's clip norm."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        slopes = []
        for parameter in self._parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                slopes.append(parameter.grad.values())
            elif parameter.grad is not None:
                slopes.append(parameter.grad)
        length = nn.utils.get_total_norm(slopes)
        shorter = torch.clamp(self._clip_norm / (length + 1e-6), max=1.0)
        torch._foreach_mul_(slopes, shorter)
        for part in self._parts:
            part.step()

    def state(self) -> dict[str, Tensor]:
        """What `load` takes up from."""
        return {
            f"{place}.{index}.{name}": torch.as_tensor(value)
            for place, part in enumerate(self._parts)
            for index, state in part.state_dict()["state"].items()
            for name, value in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        for place, part in enumerate(self._parts):
            state: dict[int, dict[str, Tensor | int]] = {}
            for key, value in tensors.items():
                which, index, name = key.split(".", 2)
                if int(which) == place:
                    counted = not value.is_floating_point()
                    state.setdefault(int(index), {})[name] = int(value) if counted else value
            part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
