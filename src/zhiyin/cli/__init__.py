"""H: commands."""

import sys

import typer
from rich.console import Console

from zhiyin.cli.backup import backup, restore
from zhiyin.cli.demo import demo
from zhiyin.cli.doctor import doctor
from zhiyin.cli.enrich import enrich
from zhiyin.cli.evaluate import evaluate
from zhiyin.cli.find import find
from zhiyin.cli.finetune import finetune
from zhiyin.cli.follow import follow
from zhiyin.cli.ingest import ingest
from zhiyin.cli.keys import keys
from zhiyin.cli.recommend import recommend
from zhiyin.cli.retrain import retrain
from zhiyin.cli.serve import serve
from zhiyin.cli.train import train
from zhiyin.cli.tune import tune
from zhiyin.cli.update import update
from zhiyin.core.errors import ZhiyinError

application = typer.Typer(no_args_is_help=True, add_completion=False, help="Recommendations from a table of events.")
for command in (
    ingest,
    follow,
    enrich,
    finetune,
    tune,
    train,
    update,
    retrain,
    evaluate,
    recommend,
    find,
    serve,
    backup,
    restore,
    demo,
    doctor,
):
    application.command()(command)
application.add_typer(keys, name="keys")


def main() -> None:
    """Runs the command line; an error raised on purpose ends it with one line and status 2."""
    try:
        application()
    except ZhiyinError as error:
        Console(stderr=True).print(f"zhiyin: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
