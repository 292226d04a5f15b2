"""An epoch of RecTools' SASRec, for training.py: run by a Python that has RecTools and not this project.

python training_rectools.py EVENTS.csv '{"dim": 64, ...}'
"""

import json
import resource
import sys
import time
from typing import Any, ClassVar

import pandas as pd
from pytorch_lightning import Callback, Trainer  # type: ignore[import-not-found]
from rectools.dataset import Dataset  # type: ignore[import-not-found]
from rectools.models import SASRecModel  # type: ignore[import-not-found]


class Clock(Callback):  # type: ignore[misc]
    """RecTools trains with a copy of what it is given, so what is measured belongs to the class."""

    seconds: ClassVar[list[float]] = []

    def __init__(self) -> None:
        self.began = 0.0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def main(events: str, settings: str) -> None:
    size = json.loads(settings)
    table = pd.read_csv(events)
    table["weight"] = 1.0
    table["datetime"] = pd.to_datetime(table.pop("timestamp"), unit="s")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    model = SASRecModel(
        n_factors=size["dim"],
        n_blocks=size["layers"],
        n_heads=size["heads"],
        session_max_len=size["length"],
        batch_size=size["batch_users"],
        dropout_rate=size["dropout"],
        loss="softmax",
        get_trainer_func=lambda: Trainer(max_epochs=1, accelerator="cpu", callbacks=[Clock()], **quiet),
    )
    model.fit(Dataset.construct(table))
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": Clock.seconds, "mib": mib}))


if __name__ == "__main__":
    main(*sys.argv[1:])
