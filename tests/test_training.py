"""The loop resumes to the same parameters, and its losses count users alike."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zhiyin.core.models import Outputs, Products, Run, Shares
from zhiyin.models.attentive import Attentive, AttentiveConfig
from zhiyin.models.next_item_network import Few
from zhiyin.models.transformer import Transformer, TransformerConfig
from zhiyin.testing.synthetic import planted_groups
from zhiyin.training import losses
from zhiyin.training.checkpoint import load
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.losses import LOSSES, mean_loss
from zhiyin.training.statistics import PlainStatistics

SMALL = TransformerConfig(dim=16, layers=1, heads=2, length=12, epochs=6, patience=0, batch_users=8)


class StopAfter:
    """Ends a training from within, the way a kill does: between one epoch's checkpoint and the next."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch > self.epochs:
            raise KeyboardInterrupt

    def batch(self, done: int, total: int, loss: float) -> None:
        return


def run(**options: object) -> Run:
    return Run(PlainTrainer(), PlainStatistics(), **options)  # type: ignore[arg-type]


def assert_same(first: Transformer | Attentive, second: Transformer | Attentive) -> None:
    for name, array in first.parameters().items():
        np.testing.assert_array_equal(array, second.parameters()[name], err_msg=name)


@pytest.mark.parametrize("negatives", [0, 8])
@pytest.mark.parametrize("kind", [Transformer, Attentive])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_products_in_sixteen_bits_find_the_pattern(
    device: str, kind: type[Transformer | Attentive], negatives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU has them; where there is none, the CPU stands in for it."""
    if device == "cpu":
        monkeypatch.setattr("zhiyin.training.loop.precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    elif not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    planted, settings = planted_groups(), {"dim": 16, "epochs": 30, "patience": 0, "batch_users": 8}
    model = kind(kind.Config(**settings, negatives=negatives, encoders=("planted",)))
    model.fit(planted.data, run(device=device))
    scores = model.score(planted.queries)
    above = [
        np.mean(mine[liked][:, None] > mine[others])
        for mine, liked, others in zip(scores, planted.liked, planted.others, strict=True)
    ]
    assert np.mean(above) > 0.9
    assert {array.dtype for array in model.parameters().values()} <= {np.dtype(np.float32), np.dtype(np.int64)}


@pytest.mark.parametrize("negatives", [0, 8])
@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_training_resumes_to_the_same_parameters(stop: int, negatives: int, tmp_path: Path) -> None:
    data, config = planted_groups().data, SMALL.model_copy(update={"negatives": negatives})
    whole, resumed = Transformer(config), Transformer(config)
    whole.fit(data, run())
    with pytest.raises(KeyboardInterrupt):
        Transformer(config).fit(data, run(checkpoints=tmp_path, progress=StopAfter(stop)))
    report = resumed.fit(data, run(checkpoints=tmp_path))
    assert_same(whole, resumed)
    assert [entry["epoch"] for entry in report.history] == list(range(1, SMALL.epochs + 1))


def test_a_finished_training_is_found_again(tmp_path: Path) -> None:
    data, again = planted_groups().data, Transformer(SMALL)
    Transformer(SMALL).fit(data, run(checkpoints=tmp_path))
    report = again.fit(data, run(checkpoints=tmp_path, progress=StopAfter(0)))
    (log,) = tmp_path.glob("*/history.jsonl")
    assert [json.loads(line) for line in log.read_text("utf-8").splitlines()] == list(report.history)
    assert len(report.history) == SMALL.epochs
    other = replace(data, fingerprint="of other people")
    with pytest.raises(KeyboardInterrupt):
        Transformer(SMALL).fit(other, run(checkpoints=tmp_path, progress=StopAfter(0)))


KILLED = """
import os, signal, sys
from pathlib import Path
from zhiyin.core.models import Run
from zhiyin.models.transformer import Transformer, TransformerConfig
from zhiyin.testing.synthetic import planted_groups
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

class Kill:
    steps = 0
    def epoch(self, *_): pass
    def batch(self, *_):
        Kill.steps += 1
        if Kill.steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

config = TransformerConfig(dim=16, layers=1, heads=2, length=12, epochs=6, patience=0, batch_users=8, negatives=8)
run = Run(PlainTrainer(), PlainStatistics(), checkpoints=Path(sys.argv[1]), progress=Kill())
Transformer(config).fit(planted_groups().data, run)
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_minus_nine_loses_at_most_one_checkpoint_interval(tmp_path: Path) -> None:
    data = planted_groups().data
    steps = -(-len(data.users) // SMALL.batch_users)
    killed_at = 2 * steps + max(1, steps // 2)
    outcome = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(killed_at)], check=False)
    assert outcome.returncode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    kept = load(folder)
    assert kept is not None
    assert len(kept[1]["history"]) == 2
    config = SMALL.model_copy(update={"negatives": 8})
    whole, resumed = Transformer(config), Transformer(config)
    whole.fit(data, run())
    resumed.fit(data, run(checkpoints=tmp_path))
    assert_same(whole, resumed)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_checkpoint_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    data = planted_groups().data
    with pytest.raises(KeyboardInterrupt):
        Transformer(SMALL).fit(data, run(checkpoints=tmp_path, progress=StopAfter(2)))
    report = Transformer(SMALL.model_copy(update={"epochs": 2})).fit(data, run(checkpoints=tmp_path))
    assert len(report.history) == 2


def test_a_checkpoint_is_not_mixed_up_with_settings_of_the_same_shape(tmp_path: Path) -> None:
    data = planted_groups().data
    fading = SMALL.model_copy(update={"half_life_days": 7.0})
    with pytest.raises(KeyboardInterrupt):
        Transformer(fading).fit(data, run(checkpoints=tmp_path, progress=StopAfter(2)))
    whole, other = Transformer(SMALL), Transformer(SMALL)
    whole.fit(data, run())
    other.fit(data, run(checkpoints=tmp_path))
    assert_same(whole, other)


def test_early_stopping_keeps_the_best_epoch() -> None:
    figures = iter([0.1, 0.3, 0.2, 0.2, 0.2, 0.2])
    config = AttentiveConfig(dim=8, epochs=6, patience=2)
    report = Attentive(config).fit(planted_groups().data, run(validate=lambda _: next(figures)))
    assert len(report.history) == 4
    assert report.settled == {"epochs": 2, "patience": 0}


@pytest.mark.parametrize("kind", [Transformer, Attentive])
def test_sampled_softmax_learns_what_full_softmax_learns(kind: type[Transformer] | type[Attentive]) -> None:
    planted = planted_groups()
    settings = {"dim": 16, "length": 12, "epochs": 60, "patience": 0, "learning_rate": 0.01, "batch_users": 16}
    model = kind(kind.Config(**settings, negatives=16))
    model.fit(planted.data, run())
    pairs = zip(model.score(planted.queries), planted.liked, planted.others, strict=True)
    assert np.mean([row[liked].mean() > row[others].mean() for row, liked, others in pairs]) >= 0.95


@pytest.mark.parametrize("encoders", [(), ("planted",)])
@pytest.mark.parametrize("kind", [Transformer, Attentive])
def test_a_network_over_the_items_met_says_and_learns_what_the_whole_one_does(
    kind: type[Transformer] | type[Attentive], encoders: tuple[str, ...]
) -> None:
    data = planted_groups().data
    network = kind(kind.Config(dim=8, length=12, encoders=encoders)).build(data).double().eval()
    histories, answers, others = [[3, 30, 7], [12]], torch.tensor([7, 5]), torch.tensor([9, 3, 9])
    logs = torch.randn(2, 4, dtype=torch.float64)

    def slopes(scores: torch.Tensor) -> dict[str, torch.Tensor]:
        network.zero_grad()
        (scores * scores).sum().backward()  # type: ignore[no-untyped-call]
        return {name: p.grad.to_dense() for name, p in network.named_parameters() if p.grad is not None}

    items = network.items()
    states = network.read([np.array(rows) for rows in histories], items.evidence)
    whole = network.sampled(states, answers, others, logs, items)
    few = Few.of(network, answers, others, *map(torch.tensor, histories))
    met = [few.rows(torch.tensor(rows)).numpy() for rows in histories]
    states = few.network.read(met, few.items.evidence)
    part = few.network.sampled(states, few.rows(answers), few.rows(others), logs, few.items)
    assert few.chosen.tolist() == [3, 5, 7, 9, 12, 30]
    torch.testing.assert_close(part, whole)
    torch.testing.assert_close(slopes(part), slopes(whole))


@pytest.mark.parametrize("kind", [Transformer, Attentive])
def test_questions_after_a_pause_are_put_where_a_user_came_back(kind: type[Transformer] | type[Attentive]) -> None:
    data = planted_groups().data
    settings = {"dim": 8, "length": 12, "epochs": 1, "patience": 0}
    anywhere, paused, nobody = (kind(kind.Config(**settings, pause_days=pause)) for pause in (None, 1.0, 10_000.0))
    for model in (anywhere, paused, nobody):
        model.fit(data, run())
    assert_same(anywhere, nobody)
    assert any((a != paused.parameters()[name]).any() for name, a in anywhere.parameters().items())


def test_users_count_alike_in_a_loss_however_many_positions_they_have() -> None:
    owner = torch.tensor([0, 0, 1])
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, -1.0]])
    outputs = Outputs(scores, torch.zeros(3, dtype=torch.long), owner)
    for name in ("bce", "bpr", "cross-entropy"):
        alone = LOSSES[name](outputs)
        assert alone.shape == (3,)
        assert torch.isclose(mean_loss(name, outputs, 2), (alone[:2].mean() + alone[2]) / 2)
        assert torch.isclose(mean_loss(name, outputs, 2, mean_positions=1.5), alone.sum() / 3)
    squared = Outputs(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 3.0]), owner)
    assert mean_loss("mse", squared, 2) == 1.0
    assert torch.isclose(LOSSES["bpr"](Outputs(scores, None, owner))[0], torch.log1p(torch.exp(torch.tensor(-2.0))))


@pytest.mark.parametrize("cells", [1, 40, 10_000])
def test_a_loss_over_all_items_does_not_depend_on_how_many_scores_are_held(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CELLS", cells)
    generator = torch.Generator().manual_seed(0)
    states, vectors, bias, offsets = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 3), (11, 3), (11,), (2, 11))
    )
    learned = states.requires_grad_(), vectors.requires_grad_(), bias.requires_grad_()
    moments, owner = torch.tensor([0, 1, 1, 0, 1, 0, 0]), torch.tensor([0, 0, 1, 1, 1, 2, 2])
    position = torch.tensor([0, 1, 2, 3, 3, 3, 4, 5, 6])
    asked = Shares(position, torch.arange(9), 1.0 / torch.bincount(position)[position].double())
    whole = states @ vectors.T + bias + offsets[moments]
    dense = torch.zeros(7, 11, dtype=torch.float64).index_put((position, asked.item), asked.share)
    one_by_one = torch.nn.functional.cross_entropy(whole, dense, reduction="none")
    expected = (one_by_one[:2].mean() + one_by_one[2:5].mean() + one_by_one[5:].mean()) / 3
    found = mean_loss("cross-entropy", Outputs(Products(*learned, offsets, moments), asked, owner), 3)
    assert torch.isclose(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(2 * found, learned), torch.autograd.grad(2 * expected, learned), strict=True
    ):
        assert torch.allclose(mine, theirs)
