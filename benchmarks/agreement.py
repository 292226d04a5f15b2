"""Lists for everybody by the command line against answers one by one over HTTP.

    python benchmarks/agreement.py --data DIR [--epochs N | --artifact DIR --store URL] [--users N] [--work DIR]

DIR/ml-1m holds interactions.parquet, items.parquet and users.parquet. The transformer is trained on them,
`zhiyin recommend --users` writes a list of ten for every user, `zhiyin serve` is asked for a sample of them: the same
items must come in the same order, with scores equal to 1e-6.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import polars as pl
from serving import command, served

import zhiyin
from zhiyin.dataset.settings import PreparationSettings

LENGTH = 10
TOLERANCE = 1e-6
STARTING_SECONDS, TIMEOUT_SECONDS = 60, 30

Listed = list[tuple[str, float]]
"""(item_id, score), best first."""


def train(data: Path, store: str, out: Path, epochs: int) -> None:
    zhiyin.ingest(
        data / "interactions.parquet",
        store=store,
        catalogue=data / "items.parquet",
        users=data / "users.parquet",
    )
    report = zhiyin.train(
        store=store,
        out=out,
        model="transformer",
        settings={"epochs": epochs},
        preparation=PreparationSettings(encoders=()),
    )
    print(f"trained on {report.events} events of {report.users} users with {report.items} items, {epochs} epochs")


def by_command(store: str, artifact: Path, users: list[str], work: Path) -> dict[str, Listed]:
    """The list of each user, read from the Parquet file that one command writes."""
    names, lists = work / "users.parquet", work / "lists.parquet"
    pl.DataFrame({"user_id": users}).write_parquet(names)
    words = command("recommend", store, artifact, "--users", names, "-k", LENGTH, "--out", lists)
    subprocess.run(words, check=True)
    found: dict[str, Listed] = {user: [] for user in users}
    for user, item, _, score in pl.read_parquet(lists).sort("user_id", "rank").iter_rows():
        found[user].append((item, score))
    return found


def by_request(client: httpx.Client, user: str) -> Listed:
    answer = client.get(f"/api/v1/recommend/{quote(user, safe='')}", params={"n": LENGTH}).raise_for_status().json()
    return [(line["item"]["item_id"], line["score"]) for line in answer["items"]]


def agree(one: Listed, other: Listed) -> bool:
    return [item for item, _ in one] == [item for item, _ in other] and bool(
        np.allclose([score for _, score in one], [score for _, score in other], rtol=0, atol=TOLERANCE)
    )


def users_of(data: Path) -> list[str]:
    events = pl.read_parquet(data / "interactions.parquet")
    return events["userId"].unique(maintain_order=True).cast(pl.String).to_list()


def compare(store: str, artifact: Path, data: Path, sample: int, work: Path) -> bool:
    users = users_of(data)
    started = time.perf_counter()
    batch = by_command(store, artifact, users, work)
    seconds = time.perf_counter() - started
    full = sum(len(listed) == LENGTH for listed in batch.values())
    print(f"by command: {len(batch)} users in {seconds:.1f} s, {full} lists of {LENGTH}")
    asked = np.random.default_rng(0).choice(users, min(sample, len(users)), replace=False).tolist()
    differing, distance = [], 0.0
    started = time.perf_counter()
    with served(store, artifact, starting=STARTING_SECONDS, timeout=TIMEOUT_SECONDS) as (client, _):
        for user in asked:
            single = by_request(client, user)
            if not agree(batch[user], single):
                differing.append(user)
            distance = max([distance, *(abs(a[1] - b[1]) for a, b in zip(batch[user], single, strict=False))])
    seconds = time.perf_counter() - started
    print(f"over HTTP: {len(asked)} users in {seconds:.1f} s with the start of the server")
    print(f"{len(asked) - len(differing)} of {len(asked)} lists agree, scores differ by at most {distance:.1e}")
    if differing:
        print(f"different for {', '.join(differing[:10])}")
    return full == len(users) and not differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--artifact", type=Path, help="a system trained on DIR before; then --store as well")
    parser.add_argument("--store", help="the store that it was trained on")
    parser.add_argument("--users", type=int, default=200, help="how many are asked for over HTTP")
    parser.add_argument("--work", type=Path, help="where to keep what is made, for --artifact and --store")
    arguments = parser.parse_args()
    if (arguments.artifact is None) != (arguments.store is None):
        parser.error("give --artifact and --store together")
    with tempfile.TemporaryDirectory() as folder:
        work: Path = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        store, artifact = arguments.store, arguments.artifact
        if artifact is None:
            store, artifact = f"sqlite:///{work / 'events.db'}", work / "system"
            train(arguments.data / "ml-1m", store, artifact, arguments.epochs)
        agreed = compare(store, artifact, arguments.data / "ml-1m", arguments.users, work)
        print(f"load average {os.getloadavg()[0]:.2f}")
    raise SystemExit(0 if agreed else 1)


if __name__ == "__main__":
    main()
