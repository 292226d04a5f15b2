"""Events are taken in while they are appended to files: each of them, and each once."""

import csv
import json
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import PROGRAM

from zhiyin.app.follow import FollowReport, FollowRequest, follow
from zhiyin.core.errors import InputError, StoreError
from zhiyin.core.events import Events
from zhiyin.events.sources import LINE_BYTES
from zhiyin.events.tail import Tail
from zhiyin.storage.events import StoredEvents
from zhiyin.storage.opening import open_stores

NOON = 1_700_000_000_000

Step = Callable[[], object]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


def line(number: int, **more: Any) -> str:
    return json.dumps({"user_id": "u", "item_id": f"i{number}", "timestamp": NOON + number, **more}) + "\n"


def logged(store: str) -> list[str]:
    with closing(open_stores(store)) as stores:
        return list(Events.concat([Events.empty(), *stores.events.read()]).item_id)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put aside is left as soon as nothing comes."""
    monkeypatch.setattr("zhiyin.events.tail.GRACE_S", 0.0)


def followed(store: str, files: list[Path], *steps: Step, **asked: Any) -> FollowReport:
    """What is followed while each of `steps` is done as soon as nothing more comes."""
    ahead = iter(steps)

    def stopped(seconds: float) -> bool:
        if not seconds:
            return False
        step = next(ahead, None)
        if step is not None:
            step()
        return step is None

    return follow(FollowRequest(files, store, **asked), stopped)


def appending(path: Path, *texts: str) -> Step:
    def append() -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(texts))

    return append


def test_lines_are_taken_in_as_they_come_and_once(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = followed(store, [path], appending(path, line(1), line(2)), appending(path, line(3)))
    assert first == FollowReport(read=3, added=3, known=0, refused=0)
    again = followed(store, [path], appending(path, line(4)))
    assert again == FollowReport(read=4, added=1, known=3, refused=0)
    assert logged(store) == ["i1", "i2", "i3", "i4"]


def test_a_line_waits_for_its_end(store: str, tmp_path: Path) -> None:
    path, text = tmp_path / "events.jsonl", line(1)
    seen: list[list[str]] = []
    steps = [appending(path, text[:20]), lambda: seen.append(logged(store)), appending(path, text[20:], "\n")]
    followed(store, [path], *steps, lambda: seen.append(logged(store)))
    assert seen == [[], ["i1"]]


def test_a_file_is_put_aside_and_begun_anew(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    report = followed(
        store,
        [path],
        appending(path, line(1), line(2).rstrip("\n")),
        lambda: path.rename(tmp_path / "events.jsonl.1"),
        appending(tmp_path / "events.jsonl.1", "\n", line(3).rstrip("\n")),
        appending(path, line(4)),
    )
    assert (report.added, sorted(logged(store))) == (4, ["i1", "i2", "i3", "i4"])


def test_a_file_is_emptied_where_it_stands(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    followed(store, [path], appending(path, line(1), line(2)), lambda: path.write_text(""), appending(path, line(3)))
    assert logged(store) == ["i1", "i2", "i3"]


def test_what_cannot_be_used_is_listed_by_its_line_and_harms_no_other(store: str, tmp_path: Path) -> None:
    path, listed = tmp_path / "events.jsonl", tmp_path / "refused.csv"
    texts = [
        line(1),
        "no json\n",
        "\n",
        line(2, value="much"),
        '{"user_id": "u", "item_id": "i"}\n',
        '{"item_id": "i", "timestamp": 1700000000000}\n',
        '["u", "i"]\n',
        '{"user_id": "u", "item_id": "i7", "event_id": "e7"}\n',
    ]
    report = followed(store, [path], appending(path, *texts[:4]), appending(path, *texts[4:]), refused=listed)
    assert report == FollowReport(read=7, added=2, known=0, refused=5)
    assert logged(store) == ["i1", "i7"]
    with listed.open(encoding="utf-8-sig", newline="") as file:
        found = {int(row["row"]): (row["field"], row["reason"]) for row in csv.DictReader(file)}
    assert found == {
        2: ("", "bad-json"),
        4: ("value", "bad-value"),
        5: ("timestamp", "no-id-and-no-time"),
        6: ("user_id", "missing-user"),
        7: ("", "bad-json"),
    }


def test_bytes_that_are_no_text_and_lines_without_end_are_refused(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def broken() -> None:
        with path.open("ab") as file:
            file.write(b'{"user_id": "\xff"}\n' + b"x" * (3 * LINE_BYTES) + b"\n" + line(1).encode())

    report = followed(store, [path], broken)
    assert report == FollowReport(read=3, added=1, known=0, refused=2)


def test_a_line_is_read_by_its_own_keys_whatever_comes_with_it(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    texts = [
        '{"user_id": "u", "item_id": "i1", "timestamp": 1700000000000, "session": "s"}\n',
        '{"user_id": "u", "item_id": "i2", "time": 1700000000001, "order_id": "o"}\n',
        '{"user_id": "u", "item_id": "i3", "time": 1700000000002, "rating": 2}\n',
        '{"user_id": "u", "item_id": "i4", "time": 1700000000003, "quantity": 3}\n',
        '{"user_id": "u", "item_id": "i5", "time": 1700000000004, "": "7"}\n',
    ]
    followed(store, [path], *(appending(path, text) for text in texts))
    assert followed(store, [path]) == FollowReport(read=5, added=0, known=5, refused=0)
    with closing(open_stores(store)) as stores:
        kept = stores.events.history("u", 9)
    assert list(kept.event) == ["view", "view", "rating", "purchase", "view"]
    assert list(kept.session_id) == ["s", "o", None, None, None]
    assert kept.value[2:4].tolist() == [2, 3]


def test_hostile_lines_stop_nothing(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    deep = [
        f'{{"user_id": {"[" * depth}{"]" * depth}, "item_id": "i", "timestamp": 1}}\n' for depth in range(900, 1100)
    ]
    blank = ['{"user_id": "u", "item_id": "i", "event_id": ""}\n', '{"user_id": "u", "item_id": "i", "time": " "}\n']
    report = followed(store, [path], appending(path, *deep, *blank, line(1)))
    assert (report.read, report.refused, logged(store)) == (203, 202, ["i1"])


def test_refused_lines_are_kept_over_restarts(store: str, tmp_path: Path) -> None:
    path, listed = tmp_path / "events.jsonl", tmp_path / "refused.csv"
    for text in ("bad\n", "worse\n"):
        path.unlink(missing_ok=True)
        followed(store, [path], appending(path, text), refused=listed)
    with listed.open(encoding="utf-8-sig", newline="") as file:
        assert [row["value"] for row in csv.DictReader(file)] == ["bad", "worse"]


def test_it_is_stopped_though_lines_keep_coming(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    asked: list[int] = []

    def stopped(_: float) -> bool:
        appending(path, line(len(asked)))()
        asked.append(1)
        return len(asked) > 5

    assert follow(FollowRequest([path], store), stopped).added == 5


def test_a_mapping_to_nothing_is_told_before_anything_comes(store: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known:"):
        followed(store, [tmp_path / "events.jsonl"], columns={"who": "person_number"})


def read(tail: Tail) -> list[bytes]:
    found: list[bytes] = []
    while (lines := tail.read()) is not None:
        found += lines.lines
    return found


def test_who_writes_to_a_file_that_was_put_aside_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.events.tail.GRACE_S", 5.0)
    now = [0.0]
    path, aside = tmp_path / "lines", tmp_path / "lines.1"
    with closing(Tail(path, lambda: now[0])) as tail:
        path.write_bytes(b"1\nha")
        assert read(tail) == [b"1"]
        path.rename(aside)
        path.write_bytes(b"3\n")
        assert read(tail) == []
        now[0] = 4.0
        with aside.open("ab") as late:
            late.write(b"lf\n2\n")
        assert read(tail) == [b"half", b"2"]
        now[0] = 8.0
        assert read(tail) == []
        now[0] = 13.1
        assert read(tail) + read(tail) == [b"3"]


def test_a_file_that_was_emptied_and_has_grown_past_its_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    with closing(Tail(tmp_path / "lines")) as tail:
        tail.path.write_bytes(b"old 1\nold 2\n")
        assert read(tail) == [b"old 1", b"old 2"]
        tail.path.write_bytes(b"new 1\nnew 2\nnew 3\nnew 4\n")
        assert read(tail) == [b"new 1", b"new 2", b"new 3", b"new 4"]


def test_events_that_happen_twice_are_two_whoever_reads_the_file_again(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    followed(store, [path], appending(path, line(1), line(1)), appending(path, line(1)))
    assert logged(store) == ["i1"] * 3
    assert followed(store, [path]) == FollowReport(read=3, added=0, known=3, refused=0)


def test_keys_are_mapped_and_usual_names_are_known(store: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    said = '{"who": "u", "商品": "i", "time": "2024-02-01T12:00:00Z", "event": "购买", "session": "s"}\n'
    followed(store, [path], appending(path, said), columns={"who": "user_id"})
    with closing(open_stores(store)) as stores:
        kept = stores.events.history("u", 1)
    assert (list(kept.event), list(kept.session_id), kept.timestamp[0]) == (["purchase"], ["s"], 1_706_788_800_000)


def test_several_files_go_to_the_part_of_one_tenant(store: str, tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    steps = [appending(path, line(number)) for number, path in enumerate(paths)]
    assert followed(store, paths, *steps, tenant="ours").added == 2
    assert logged(store) == []
    with closing(open_stores(store, "ours")) as stores:
        assert len(stores.events.history("u", 9)) == 2


def test_a_store_that_does_not_answer_is_tried_again(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tried, append = tmp_path / "events.jsonl", [], StoredEvents.append

    def failing(self: StoredEvents, events: Events) -> Any:
        tried.append(list(events.event_id))
        report = append(self, events)
        if len(tried) < 3:
            # Written, but the answer was lost.
            raise StoreError("the connection was lost")
        return report

    monkeypatch.setattr(StoredEvents, "append", failing)
    path.write_text(line(1) + line(2))
    report = followed(store, [path], lambda: None, lambda: None)
    assert tried == [tried[0]] * 3
    assert (report.read, report.known, logged(store)) == (2, 2, ["i1", "i2"])
    tried.clear()
    with pytest.raises(StoreError, match="lost"):
        followed(store, [path])


def test_what_is_no_file_is_told(store: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        followed(store, [tmp_path])


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=6)), st.data())
@settings(max_examples=50)
def test_lines_are_the_same_however_they_are_written(texts: list[str], data: st.DataObject) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()

    with tempfile.TemporaryDirectory() as folder, closing(Tail(Path(folder) / "lines")) as tail:
        found: list[bytes] = []
        begin = 0
        while begin < len(whole):
            end = data.draw(st.integers(begin + 1, len(whole)))
            with tail.path.open("ab") as file:
                file.write(whole[begin:end])
            begin = end
            while (lines := tail.read()) is not None:
                assert lines.first == len(found) + 1
                found += lines.lines
        assert found == [text.encode() for text in texts]


@pytest.fixture
def following(store: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Begins to follow a file by the command line."""
    running: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        words = [str(PROGRAM), "follow", str(tmp_path / "events.jsonl"), "--store", store]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_nothing_is_lost_or_doubled_when_it_is_killed(
    store: str, tmp_path: Path, following: Callable[[], subprocess.Popen[str]]
) -> None:
    path, written = tmp_path / "events.jsonl", 0
    for _ in range(3):
        process = following()
        for _ in range(200):
            appending(path, line(written))()
            written += 1
        while not logged(store):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = following()
    while len(logged(store)) < written:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert (process.returncode, told.split(" lines")[0]) == (0, f"{written:,}")
    assert Counter(logged(store)) == Counter(f"i{number}" for number in range(written))
