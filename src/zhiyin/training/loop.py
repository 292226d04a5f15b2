"""The training loop of every gradient model."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from zhiyin.core.arrays import IntVector
from zhiyin.core.errors import ZhiyinError
from zhiyin.core.models import FitReport, Run, TrainingTask
from zhiyin.training import checkpoint
from zhiyin.training.losses import mean_loss
from zhiyin.training.negatives import Negatives
from zhiyin.training.optimizer import Optimizer
from zhiyin.training.precision import precision


class PlainTrainer:
    """Adam on the mean loss of a batch of users (`Optimizer`), stopped early on the task's validation figure.

    All randomness of an epoch derives from (seed, epoch), so that a run resumed at an epoch's start repeats the
    uninterrupted one exactly, on a CPU. With `run.checkpoints` set, state is kept after every epoch in a folder of the
    training's own there, with the history in `history.jsonl`; a finished training is found again, too. How many epochs
    fit in before `run.until` depends on the machine.
    """

    def run(self, task: TrainingTask, run: Run) -> FitReport:
        """Trains `task.module` in place and leaves the best epoch's parameters in it.

        One thread trains: several gain little on batches this small, and lose many times that where cores are shared,
        since they wait for each other.
        """
        with threadpool_limits(1, "openmp"):
            return self._run(task, run)

    def _run(self, task: TrainingTask, run: Run) -> FitReport:
        course = _Course.begin(task, run)
        schedule = task.schedule
        folder = None if run.checkpoints is None else run.checkpoints / course.identity[:16]
        began, first = time.monotonic(), len(course.history)
        for epoch in range(first, schedule.epochs):
            if schedule.patience and len(course.history) - course.best_epoch >= schedule.patience:
                break
            now = time.monotonic()
            if run.until is not None and epoch > first and now + (now - began) / (epoch - first) > run.until:
                break
            loss = _epoch(task, run, course, epoch)
            course.module.eval()
            course.record(epoch + 1, loss, task.validate())
            run.progress.epoch(epoch + 1, schedule.epochs, course.history[-1])
            if folder is not None:
                course.keep(folder)
        if course.best:
            course.module.load_state_dict(course.best)
        course.module.eval()
        return FitReport({"epochs": max(course.best_epoch, 1), "patience": 0}, tuple(course.history))


@dataclass
class _Course:
    """Where a training stands: everything that a checkpoint holds."""

    module: torch.nn.Module
    optimizer: Optimizer
    identity: str
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, task: TrainingTask, run: Run) -> "_Course":
        module: torch.nn.Module = task.module.to(run.device)
        course = cls(module, Optimizer(module, task.schedule, task.by_row), _identity(task, run))
        loaded = checkpoint.load(run.checkpoints / course.identity[:16]) if run.checkpoints is not None else None
        if loaded is not None:
            course.resume(*loaded)
        return course

    def record(self, epoch: int, loss: float, validation: float | None) -> None:
        earlier = max((entry["validation"] for entry in self.history if "validation" in entry), default=-np.inf)
        self.history.append({"epoch": epoch, "loss": loss} | ({} if validation is None else {"validation": validation}))
        if validation is None or validation > earlier:
            self.best_epoch = epoch
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def keep(self, folder: Path) -> None:
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        state = {"identity": self.identity, "history": self.history, "best_epoch": self.best_epoch}
        checkpoint.save(folder, tensors, state)
        lines = [json.dumps(epoch) + "\n" for epoch in self.history]
        (folder / "history.jsonl").write_text("".join(lines), encoding="utf-8")

    def resume(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.module.load_state_dict(_section(tensors, "module."))
        self.optimizer.load(_section(tensors, "optimizer."))
        self.history, self.best_epoch = state["history"], state["best_epoch"]
        self.best = _section(tensors, "best.")


def _epoch(task: TrainingTask, run: Run, course: _Course, epoch: int) -> float:
    generator = np.random.default_rng((run.seed, epoch))
    torch.manual_seed(int(generator.integers(2**62)))
    course.module.train()
    negatives = Negatives(task.item_counts, task.objective.negatives) if task.objective.negatives else None
    order: IntVector = generator.permutation(task.users)
    size = task.schedule.batch_users
    steps = -(-len(order) // size)
    total, seen = 0.0, 0
    for step in range(steps):
        users = order[step * size : (step + 1) * size]
        with precision(run.device):
            loss = _loss(task, users, negatives, generator, run.device)
        if not torch.isfinite(loss):
            raise ZhiyinError(
                f"training diverged in epoch {epoch + 1}: the loss is not finite; lower the learning rate"
            )
        course.optimizer.step(loss)
        total, seen = total + len(users) * float(loss.detach()), seen + len(users)
        run.progress.batch(step + 1, steps, total / seen)
    return total / max(seen, 1)


def _loss(
    task: TrainingTask, users: IntVector, negatives: Negatives | None, generator: np.random.Generator, device: str
) -> Tensor:
    batch = task.batch(users, generator)
    objective = task.objective
    if negatives is None:
        outputs = task.outputs(batch, None)
    else:
        rows = negatives.drawn(generator)
        outputs = task.outputs(batch, torch.from_numpy(rows).to(device))
        if objective.log_q:
            # Sampled in proportion to popularity, so popular items are corrected for (Bengio & Senecal, 2008).
            outputs.scores[:, 1:] -= torch.from_numpy(negatives.log_expected(rows)).to(outputs.scores)
    weigh = float(task.item_counts.sum()) / len(task.users) if objective.weigh == "events" else None
    return mean_loss(objective.loss, outputs, len(users), weigh)


def _identity(task: TrainingTask, run: Run) -> str:
    """sha256 of a training before its first step."""
    told = (task.module, task.settings, task.objective, task.schedule, sorted(task.by_row), run.seed, len(task.users))
    digest = hashlib.sha256(repr(told).encode())
    for name, value in task.module.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    digest.update(np.ascontiguousarray(task.item_counts).tobytes())
    return digest.hexdigest()


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
