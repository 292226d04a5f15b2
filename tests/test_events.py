"""Reading of files: formats, encodings, refusals, ids, cleaning, and the import as a whole."""

import csv
import gzip
import io
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from zhiyin.app import ingest as importing
from zhiyin.app.ingest import IngestReport, IngestRequest, ingest
from zhiyin.cli.ingest import ingest as command
from zhiyin.core.errors import ConfigError, InputError, StoreError
from zhiyin.core.events import MAX_ID_LENGTH, MISSING_TIME, Events
from zhiyin.events import parquet, sources
from zhiyin.events.catalogue import read_catalog, read_users
from zhiyin.events.cleaning import steps
from zhiyin.events.identity import Occurrences
from zhiyin.events.reading import EventFile
from zhiyin.events.refusals import RefusalLog
from zhiyin.events.sources import BLOCK_BYTES
from zhiyin.events.times import parse_times
from zhiyin.storage.opening import open_stores

HEAD = "user_id,item_id,rating,timestamp\n"
GOOD = HEAD + "u1,i1,4.5,1700000000\nu2,i2,3,1700000001\n"


def _read(path: Path | str, **options: Any) -> tuple[Events, RefusalLog]:
    log = RefusalLog()
    return Events.concat(EventFile(path, log, **options)), log


def _write(folder: Path, content: str | bytes, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _reasons(log: RefusalLog) -> dict[str, int]:
    return dict(sum(log.counts.values(), Counter()))


def _check_good(events: Events) -> None:
    assert list(events.user_id) == ["u1", "u2"]
    assert list(events.item_id) == ["i1", "i2"]
    assert list(events.value) == [4.5, 3]
    assert list(events.timestamp) == [1_700_000_000_000, 1_700_000_001_000]
    assert list(events.event) == ["rating", "rating"]


RECBOLE = GOOD.replace(",", "\t").replace(
    "user_id\titem_id\trating\ttimestamp", "user_id:token\titem_id:token\trating:float\ttimestamp:float"
)
LINES = "".join(
    json.dumps(row) + "\n"
    for row in (
        {"user_id": "u1", "item_id": "i1", "rating": 4.5, "timestamp": 1700000000},
        {"timestamp": 1700000001, "user_id": "u2", "item_id": "i2", "rating": "3"},
    )
)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        GOOD.replace(",", ";"),
        RECBOLE,
        LINES,
        GOOD.removeprefix(HEAD).replace(",", "::"),
        "\n\n" + GOOD,
    ],
    ids=["csv", "crlf", "no-last-end", "tsv", "pipe", "semicolon", "recbole", "jsonl", "movielens", "blank-lines"],
)
@pytest.mark.parametrize("packed", ["plain", "gz", "zst"])
def test_formats(tmp_path: Path, content: str, packed: str) -> None:
    data = content.encode()
    if packed == "gz":
        data = gzip.compress(data)
    elif packed == "zst":
        data = zstandard.ZstdCompressor().compress(data)
    events, log = _read(_write(tmp_path, data, "events.data"))
    _check_good(events)
    assert log.total == 0


def test_the_u_data_file_of_movielens(tmp_path: Path) -> None:
    events, _ = _read(_write(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data"))
    assert list(events.user_id) == ["196", "186"]
    assert list(events.event) == ["rating", "rating"]


def test_an_export_of_gorse(tmp_path: Path) -> None:
    text = "FeedbackType,UserId,ItemId,Value,Timestamp\nRead,u,i,0,2023-11-14 22:13:20 +0000 UTC\n"
    events, _ = _read(_write(tmp_path, text))
    assert list(events.event) == ["view"]
    assert list(events.timestamp) == [1_700_000_000_000]


@pytest.mark.parametrize("packed", [False, True])
def test_parquet(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "events.parquet"
    frame = pl.DataFrame(
        {
            "CustomerID": [17850.0, None, 1.0],
            "asin": ["a", "b", "c"],
            "ts": [datetime(2023, 11, 14, 22, 13, 20), None, None],
        }
    )
    frame.write_parquet(path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    events, log = _read(path)
    assert list(events.user_id) == ["17850", "1"]
    assert list(events.timestamp) == [1_700_000_000_000, MISSING_TIME]
    assert _reasons(log) == {"missing-user": 1}


def test_columns_of_parquet_that_are_no_text_do_not_stop_an_import(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    frame = pl.DataFrame(
        {
            "user_id": [b"u1", "用户".encode()],
            "item_id": ["a", "b"],
            "play_time": [timedelta(seconds=1.5), None],
            "picture": [b"\xff\xd8", None],
            "vectors": [[[1.0, 2.0], [3.0]], None],
            "genres": [["x", "y"], []],
            "nested": [{"a": 1}, None],
            "array": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64, 2)),
        }
    )
    frame.write_parquet(path)
    events, log = _read(path)
    assert list(events.user_id) == ["u1", "用户"]
    assert events.value[0] == 1.5
    assert log.total == 0
    catalog, _ = read_catalog(path, log)
    assert list(catalog.categories) == [("x", "y"), ()]
    assert catalog.attributes["vectors"][0] == "1|2|3"


@pytest.mark.parametrize("write", [pl.DataFrame.write_csv, pl.DataFrame.write_ndjson, pl.DataFrame.write_parquet])
def test_a_named_pipe_is_read_like_a_file(tmp_path: Path, write: Any) -> None:
    good, pipe = tmp_path / "events", tmp_path / "pipe"
    write(pl.read_csv(GOOD.encode()), good)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(good.read_bytes(),))
    writer.start()
    events, log = _read(pipe)
    writer.join()
    assert list(events.user_id) == ["u1", "u2"]
    assert log.total == 0


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(GOOD.encode()))))
    events, _ = _read("-")
    _check_good(events)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_encodings_with_chinese_names(tmp_path: Path, encoding: str) -> None:
    text = "用户编号,商品编码,评分,时间\n张三,手机,5,2023年11月14日 22:13:20\n李四,电脑,4,2023/11/14 22:13\n"
    events, log = _read(_write(tmp_path, text.encode(encoding)))
    assert list(events.user_id) == ["张三", "李四"]
    assert list(events.item_id) == ["手机", "电脑"]
    assert list(events.timestamp) == [1_700_000_000_000, 1_699_999_980_000]
    assert log.total == 0


def test_a_broken_line_in_a_utf8_file_costs_one_row(tmp_path: Path) -> None:
    data = "用户,商品\n甲,一\n".encode() + b"\xff\xfe,x\n" + "乙,二\n".encode()
    events, log = _read(_write(tmp_path, data))
    assert list(events.user_id) == ["甲", "乙"]
    assert _reasons(log) == {"bad-encoding": 1}


BROKEN = {
    ",i,1,1700000000": "missing-user",
    "NULL,i,1,1700000000": "missing-user",
    "u,,1,1700000000": "missing-item",
    "u,i,1": "too-few-fields",
    "u,i,1,1700000000,9": "too-many-fields",
    "u\x1b[2J,i,1,1700000000": "control-character",
    "u,i\x9b2J,1,1700000000": "control-character",
    "u,i,many,1700000000": "bad-value",
    "u,i,nan,1700000000": "not-finite",
    "u,i,-inf,1700000000": "not-finite",
    "u,i,1e300,1700000000": "out-of-range",
    "u,i,1,yesterday": "bad-timestamp",
    "u,i,1,2023-13-45": "bad-timestamp",
    "u,i,1,-5": "time-out-of-range",
    "u,i,1,9999-01-01": "time-out-of-range",
    "u,i,1,99999999999999999999999": "time-out-of-range",
    'u,"i,1,1700000000': "bad-quote",
    'u,"i"x,1,1700000000': "bad-quote",
    "u," + "x" * 2000 + ",1,1700000000": "field-too-large",
    "u," + "x" * 200_000 + ",1,1700000000": "field-too-large",
    "u\0,i,1,1700000000": "bad-encoding",
}


@pytest.mark.parametrize(("line", "reason"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_row_is_refused_alone(tmp_path: Path, line: str, reason: str) -> None:
    path = _write(tmp_path, GOOD.replace("u2,", line + "\nu2,"))
    log = RefusalLog(tmp_path / "refused.csv")
    with log.open():
        _check_good(Events.concat(EventFile(path, log)))
    assert _reasons(log) == {reason: 1}
    with (tmp_path / "refused.csv").open(encoding="utf-8-sig", newline="") as file:
        (refused,) = csv.DictReader(file)
    assert (refused["file"], refused["row"], refused["reason"]) == (str(path), "3", reason)


def test_what_is_imported_can_be_served_and_is_not_of_the_far_future(tmp_path: Path) -> None:
    now, hour = time.time_ns() // 1_000_000, 3_600_000
    rows = [
        f"{'u' * MAX_ID_LENGTH},i,1,{now}",
        f"{'u' * (MAX_ID_LENGTH + 1)},i,1,{now}",
        f"u,i,1,{now + 23 * hour}",
        f"u,i,1,{now + 25 * hour}",
        "u,i,1,2099-01-01",
    ]
    events, log = _read(_write(tmp_path, HEAD + "\n".join(rows)))
    assert [len(user) for user in events.user_id] == [MAX_ID_LENGTH, 1]
    assert _reasons(log) == {"field-too-large": 1, "time-out-of-range": 2}


def test_all_broken_rows_together(tmp_path: Path) -> None:
    text = GOOD.replace("u2,", "\n".join(BROKEN) + "\nu2,")
    file = EventFile(_write(tmp_path, text), log := RefusalLog())
    _check_good(Events.concat(file))
    assert _reasons(log) == dict(Counter(BROKEN.values()))
    assert file.read == 2 + len(BROKEN)


def test_json_lines_that_are_no_objects(tmp_path: Path) -> None:
    events, log = _read(_write(tmp_path, LINES + "{oops\n[1]\n" + '{"user_id": "u", "item_id": "i", "rating": NaN}\n'))
    _check_good(events)
    assert _reasons(log) == {"bad-json": 2, "not-finite": 1}


def test_halves_of_surrogate_pairs_in_json_are_replaced(tmp_path: Path) -> None:
    line = r'{"user_id": "u\ud800", "item_id": "i", "genres": ["\ud800"], "\ud800": 1}'
    events, log = _read(path := _write(tmp_path, line + "\n", "events.jsonl"))
    assert list(events.user_id) == ["u?"]
    assert read_catalog(path, log)[0].categories[0] == ("?",)


def test_a_quoted_field_may_span_lines(tmp_path: Path) -> None:
    text = 'user_id,item_id,title\nu1,i1,"two\nlines, ""quoted"""\nu2,,x\nu3,i3,"5"" pipe"\nu4,i4,5" pipe\n'
    log = RefusalLog(tmp_path / "refused.csv")
    file = EventFile(_write(tmp_path, text), log)
    with log.open():
        assert list(Events.concat(file).user_id) == ["u1", "u3", "u4"]
    assert file.titles == {"i1": 'two\nlines, "quoted"', "i3": '5" pipe', "i4": '5" pipe'}
    assert "user_id" not in (tmp_path / "refused.csv").read_text().splitlines()[1]
    assert ",3,item_id,," in (tmp_path / "refused.csv").read_text()


def test_a_stray_quote_keeps_all_rows_after_it(tmp_path: Path) -> None:
    rows = [f"u{i},i{i},1,1700000000" for i in range(500)]
    rows[10] = 'u,"i,1,1700000000'
    events, log = _read(_write(tmp_path, HEAD + "\n".join(rows)))
    assert len(events) == 499
    assert _reasons(log) == {"bad-quote": 1}


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    events, log = _read(_write(tmp_path, GOOD.replace("u2,", "x" * 9_000_000 + "\nu2,")))
    _check_good(events)
    assert _reasons(log) == {"field-too-large": 1}


def test_quoted_lines_are_whole_wherever_the_file_is_cut_into_blocks(tmp_path: Path) -> None:
    row = 'u,i,"' + "long\n" * 90 + '"\n'
    file = EventFile(_write(tmp_path, "user,item,title\n" + row * 15_000), log := RefusalLog())
    assert sum(map(len, file)) == 15_000
    assert log.total == 0


def test_returns_are_told_by_the_quantity_even_beside_a_rating(tmp_path: Path) -> None:
    path = _write(tmp_path, "user,item,rating,quantity\nu,i,5,-1\nu,j,0,1\n")
    events, _ = _read(path, cleaning=steps(["returns"]))
    assert list(events.item_id) == ["j"]


def test_cells_that_a_spreadsheet_would_run_are_made_harmless(tmp_path: Path) -> None:
    log = RefusalLog(tmp_path / "refused.csv")
    with log.open():
        list(EventFile(_write(tmp_path, HEAD + "u,i,=cmd()|x,1\nu,i,＝cmd()|x,1\n"), log))
    written = (tmp_path / "refused.csv").read_text("utf-8")
    assert ",'=cmd()|x," in written
    assert ",'＝cmd()|x," in written


def test_times() -> None:
    forms = {
        "1700000000": 1_700_000_000_000,
        "1700000000.5": 1_700_000_000_500,
        "1.7e9": 1_700_000_000_000,
        "1700000000123": 1_700_000_000_123,
        "1700000000123456": 1_700_000_000_123,
        "1700000000123456789": 1_700_000_000_123,
        "2023-11-14T22:13:20Z": 1_700_000_000_000,
        "2023-11-15T06:13:20+08:00": 1_700_000_000_000,
        "2023-11-14 17:13:20.250-0500": 1_700_000_000_250,
        "2023-11-14": 1_699_920_000_000,
        "20231114": 1_699_920_000_000,
        "20231114221320": 1_700_000_000_000,
        "11/14/2023 22:13": 1_699_999_980_000,
        "11/14/2023 10:13 PM": 1_699_999_980_000,
        "14.11.2023 22:13": 1_699_999_980_000,
        "2023年11月14日": 1_699_920_000_000,
        "14/14/2023": None,
    }
    assert parse_times(pl.Series(list(forms))).to_list() == list(forms.values())


def test_derived_ids_are_of_content_and_occurrence(tmp_path: Path) -> None:
    text = "user,item\nu,i\nu,i\nv,i\nu,i\n"
    first, _ = _read(_write(tmp_path, text))
    again, _ = _read(_write(tmp_path, text.replace(",", "\t").encode("utf-16")))
    assert len(set(first.event_id)) == 4
    assert list(first.event_id) == list(again.event_id)


def test_occurrences_are_counted_across_batches(tmp_path: Path) -> None:
    rows = [f"u{i % 60_000},i" for i in range(120_001)]
    events, _ = _read(_write(tmp_path, "user,item\n" + "\n".join(rows)))
    assert len(set(events.event_id)) == 120_001
    assert Counter(identifier[-2:] for identifier in events.event_id) == {"-1": 60_000, "-2": 60_000, "-3": 1}


def test_given_ids_are_kept(tmp_path: Path) -> None:
    events, _ = _read(_write(tmp_path, "user,item,event_id\nu,i,e1\nu,i,\n"))
    assert events.event_id[0] == "e1"
    assert events.event_id[1] != ""


def test_kinds_of_event(tmp_path: Path) -> None:
    events, _ = _read(
        _write(tmp_path, "user,item,behavior_type\nu,i,BUY\nu,i,加购\nu,i,Not_Interested\nu,i,My Own\nu,i,\n")
    )
    assert list(events.event) == ["purchase", "cart", "not-interested", "my-own", "view"]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = _write(tmp_path, "who,what,user\nu,i,x\n")
    with pytest.raises(InputError, match="no column for item_id"):
        _read(path)
    events, _ = _read(path, columns={"who": "user_id", "what": "item_id"})
    assert list(events.user_id) == ["u"]
    with pytest.raises(InputError, match="is no column"):
        _read(path, columns={"who": "person"})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"\n\n", "empty"), (b'[{"user": 1}]', "JSON Lines"), (b"PAR1 not really", "Parquet"),
     (gzip.compress(GOOD.encode())[:-12], "cut off"), (b"\x28\xb5\x2f\xfdxxxxxx", "cut off"),
     (b"PK\x03\x04\x14\0", "save the sheet as CSV"), (b"\xd0\xcf\x11\xe0", "save the sheet as CSV")],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _read(_write(tmp_path, content))


def test_a_missing_file() -> None:
    with pytest.raises(InputError, match="check the path"):
        _read("nowhere.csv")


def test_nothing_is_imported_where_one_of_the_files_is_missing(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    there = _write(tmp_path, GOOD)
    for files in ({"events": [there, "nowhere.csv"]}, {"events": [there], "users": "nowhere.csv"}):
        with pytest.raises(InputError, match=r"nowhere\.csv: .*check the path"):
            ingest(IngestRequest(store=store, **files))
    assert not (tmp_path / "shop.db").exists()


RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID
536365,85123A,HOLDER,6,12/1/2010 8:26,2.55,17850
C536379,85123A,HOLDER,-1,12/1/2010 9:41,2.55,17850
536380,85123A,HOLDER,-2,12/1/2010 9:41,2.55,17850
536381,22423,STAND,1,12/1/2010 9:45,0,17850
536382,POST,POSTAGE,1,12/1/2010 9:45,18,17850
536383,22423,STAND,1,12/1/2010 9:50,9.95,
536384,22423,CAKE STAND,2,12/1/2010 9:52,9.95,13047
"""
RETAIL_ZH = RETAIL.replace(
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID",
    "订单号,商品编码,商品名称,数量,下单时间,单价,客户编号",
).replace("HOLDER", "烛台")


@pytest.mark.parametrize("data", [RETAIL.encode(), RETAIL_ZH.encode("gb18030")], ids=["english", "chinese"])
def test_a_shop_is_cleaned_by_named_steps(tmp_path: Path, data: bytes) -> None:
    report = ingest(IngestRequest([_write(tmp_path, data)], _store(tmp_path), clean=["retail"]))
    (file,) = report.files
    assert file.read == 7
    assert file.refused == {"missing-user": 1}
    assert file.removed == {"cancellations": 1, "returns": 1, "non-positive-price": 1, "junk-item-codes": 1}
    assert file.added == 2
    stores = open_stores(_store(tmp_path))
    events = Events.concat(stores.events.read())
    assert list(events.event) == ["purchase"] * 2
    assert list(events.session_id) == ["536365", "536384"]
    assert list(events.value) == [6, 2]
    assert set(stores.catalog.read().item_id) == {"85123A", "22423"}
    stores.close()


def test_cleaning_steps_must_exist_and_apply(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: cancellations"):
        steps(["wash"])
    with pytest.raises(InputError, match="reads a column session_id"):
        _read(_write(tmp_path, GOOD), cleaning=steps(["retail"]))


def test_a_catalogue(tmp_path: Path) -> None:
    text = (
        "商品编码,标题,类别,价格,品牌,上架时间,在售\n"
        'a,手机,"电子|通讯",1999.5,甲,2023-11-14,1\n,无,,,,,\nb,书,"图书, 小说",,,,否\na,新手机,电子,,,,\n'
    )
    catalog, count = read_catalog(_write(tmp_path, text), log := RefusalLog())
    assert count == 4
    assert _reasons(log) == {"missing-item": 1}
    assert dict(zip(catalog.item_id, catalog.title, strict=True)) == {"a": "新手机", "b": "书"}
    assert list(catalog.categories) == [("电子",), ("图书", "小说")]
    assert np.isnan(catalog.price).all()
    assert list(catalog.available) == [True, False]
    assert list(catalog.attributes["品牌"]) == [None, None]


def test_ids_of_a_catalogue_are_those_that_events_can_have(tmp_path: Path) -> None:
    path = _write(tmp_path, f"item_id,title\na\x1b[31m,X\n{'b' * (MAX_ID_LENGTH + 1)},Y\n,Z\nc,W\n")
    catalog, _ = read_catalog(path, log := RefusalLog())
    assert list(catalog.item_id) == ["c"]
    assert _reasons(log) == {"control-character": 1, "field-too-large": 1, "missing-item": 1}


def test_keys_that_come_late_in_json_lines(tmp_path: Path) -> None:
    early = "".join(json.dumps({"user_id": f"u{row}", "item_id": "i"}) + "\n" for row in range(60_000))
    late = json.dumps({"user_id": "u", "item_id": "i", "rating": 4, "timestamp": 1700000000}) + "\n"
    data = (early + late).encode()
    assert len(data) > BLOCK_BYTES
    for packed in (data, gzip.compress(data), data.decode().encode("utf-16")):
        events, log = _read(_write(tmp_path, packed))
        assert len(events) == 60_001
        assert (events.value[-1], events.timestamp[-1]) == (4, 1_700_000_000_000)
        assert log.total == 0


def test_json_lines_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(LINES.encode()))))
    _check_good(_read("-")[0])


def test_json_lines_with_values_for_keys_are_refused(tmp_path: Path) -> None:
    text = "".join(json.dumps({"user_id": "u", f"item {row}": 1}) + "\n" for row in range(1200))
    with pytest.raises(InputError, match="different keys"):
        _read(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("group", "scans"), [(20_000, 1), (5_000, 4), (400, 25)], ids=["giant", "large", "small"]
)  # fmt: skip
def test_no_row_group_of_parquet_is_decoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int, scans: int
) -> None:
    path = tmp_path / "events.parquet"
    users = [f"u{row}" for row in range(20_000)]
    pl.DataFrame({"user": users, "item": users}).write_parquet(path, row_group_size=group)
    slices = []
    cut = pl.LazyFrame.slice

    def counted(frame: pl.LazyFrame, offset: int, length: int | None = None) -> pl.LazyFrame:
        slices.append((offset, length))
        return cut(frame, offset, length)

    monkeypatch.setattr(parquet, "SPAN", 1000)
    monkeypatch.setattr(pl.LazyFrame, "slice", counted)
    log = RefusalLog()
    assert list(Events.concat(EventFile(path, log)).user_id) == users
    assert len(slices) == scans
    assert all(offset % group == 0 for offset, _ in slices)


def test_a_catalogue_of_recbole_and_of_movielens(tmp_path: Path) -> None:
    text = "item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\tToy Story\tAnimation Comedy\n"
    catalog, _ = read_catalog(_write(tmp_path, text, "ml.item"), RefusalLog())
    assert list(catalog.title) == ["Toy Story"]
    assert list(catalog.categories) == [("Animation", "Comedy")]
    data = "1::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1")
    catalog, _ = read_catalog(_write(tmp_path, data, "movies.dat"), RefusalLog())
    assert list(catalog.title) == ["Misérables, Les (1995)"]
    assert list(catalog.categories) == [("Drama", "Musical")]


def test_the_u_item_and_u_user_files_of_movielens(tmp_path: Path) -> None:
    flags = {
        "GoldenEye": "0|1|1" + "|0" * 13 + "|1|0|0",
        "Misérables, Les": "0|0|0|0|0|0|0|0|1" + "|0" * 10,
        "?": "1" + "|0" * 18,
    }
    lines = [
        f"{row}|{title} (1995)|01-Jan-1995||http://x/?{title}|{genres}"
        for row, (title, genres) in enumerate(flags.items())
    ]
    path = _write(tmp_path, ("\n".join(lines) + "\n").encode("latin-1"), "u.item")
    catalog, count = read_catalog(path, log := RefusalLog())
    assert (count, log.total) == (3, 0)
    assert list(catalog.item_id) == ["0", "1", "2"]
    assert catalog.title[1] == "Misérables, Les (1995)"
    assert list(catalog.categories) == [("Action", "Adventure", "Thriller"), ("Drama",), ()]
    assert {name: list(values) for name, values in catalog.attributes.items()} == {"release_year": ["1995"] * 3}
    users, count = read_users(_write(tmp_path, "1|24|M|technician|85711\n2|53|F|other|94043\n", "u.user"), log)
    assert count == 2
    assert list(users.user_id) == ["1", "2"]
    assert {name: values[1] for name, values in users.attributes.items()} == {
        "age": "53", "gender": "F", "occupation": "other", "zip": "94043"
    }  # fmt: skip


def test_the_users_file_of_movielens_1m(tmp_path: Path) -> None:
    users, _ = read_users(_write(tmp_path, "1::F::1::10::48067\n2::M::56::16::70072\n", "users.dat"), RefusalLog())
    assert list(users.user_id) == ["1", "2"]
    assert list(users.attributes["occupation"]) == ["10", "16"]


def test_a_file_of_users(tmp_path: Path) -> None:
    users, count = read_users(_write(tmp_path, "uid,age,city\nu,25,上海\nv,,\n"), RefusalLog())
    assert count == 2
    assert list(users.user_id) == ["u", "v"]
    assert list(users.attributes["age"]) == ["25", None]


def _store(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


def _import(folder: Path, **options: Any) -> IngestReport:
    return ingest(IngestRequest([folder / "events.csv"], _store(folder), **options))


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    _write(tmp_path, GOOD + "u1,i1,4.5,1700000000\n")
    assert [(file.added, file.known) for file in _import(tmp_path).files] == [(3, 0)]
    assert [(file.added, file.known) for file in _import(tmp_path).files] == [(0, 3)]


def test_titles_that_are_known_leave_the_catalogue_as_it_is(tmp_path: Path) -> None:
    _write(tmp_path, "user,item,title\nu,a,A\n")
    _import(tmp_path)
    stores = open_stores(_store(tmp_path))
    before = stores.catalog.revision()
    assert _import(tmp_path).titled == 0
    assert stores.catalog.revision() == before
    stores.close()


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes of a file fails, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(importing, "_BATCHES_A_COMMIT", 1)


MANY = HEAD + "".join(f"u{row},i{row},1,{1_700_000_000 + row}\n" for row in range(10_000))


def test_a_full_disk_leaves_whole_commits_and_importing_again_adds_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_small_batches(monkeypatch)
    _write(tmp_path, MANY)
    with _files_of_at_most(1_500_000), pytest.raises(StoreError, match=r"events of .* are in the store") as raised:
        _import(tmp_path)
    kept = int(str(raised.value).split("full. ")[1].split(" ")[0].replace(",", ""))
    (again,) = _import(tmp_path).files
    assert (again.known, again.added) == (kept, 10_000 - kept)


def test_a_file_that_is_cut_off_says_what_it_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _in_small_batches(monkeypatch)
    packed = gzip.compress(MANY.encode())
    _write(tmp_path, packed[: len(packed) * 9 // 10])
    with pytest.raises(InputError, match=r"may be cut off\. [\d,]+ events of .* are in the store"):
        _import(tmp_path)
    with pytest.raises(InputError, match=r"may be cut off$"):
        _import(tmp_path / ".." / tmp_path.name, strict=True)


def test_others_can_write_while_standard_input_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1 << 14)
    other = open_stores(_store(tmp_path))
    data = MANY.encode()

    class Pausing(io.BytesIO):
        def readinto(self, target: Any) -> int:
            if self.tell() > len(data) // 2 and not other.events.history("other", 1):
                other.events.append(Events.build(user_id=["other"], item_id=["i"]))
            return super().readinto(target)

    stream: Any = Pausing(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(stream)))
    assert ingest(IngestRequest(["-"], _store(tmp_path))).files[0].added == 10_000
    assert other.events.user_counts(1, "other") == [("other", 1)]
    other.close()


def _read_refusing(path: Path, refused: Path) -> None:
    with RefusalLog(refused).open() as log:
        list(EventFile(path, log))


def test_folders_without_room_are_named(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"user_id": str(row), "item_id": "i"}) + "\n" for row in range(10_000))
    packed = _write(tmp_path, gzip.compress(lines.encode()))
    with _files_of_at_most(50_000):
        with pytest.raises(InputError, match="cannot be unpacked in"):
            _read(packed)
        with Occurrences() as occurrences, pytest.raises(StoreError, match="set TMPDIR"):
            occurrences.ids([str(row) for row in range(20_000)])
        with pytest.raises(InputError, match="cannot write the file of refused rows"):
            _read_refusing(_write(tmp_path, HEAD + ",i,1,1\n" * 3_000), tmp_path / "refused.csv")


def test_refused_rows_are_never_listed_over_what_is_read_or_kept(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD + ",i,1,1\n")
    before = path.read_bytes()
    (tmp_path / "link.csv").symlink_to(path)
    for over in (path, tmp_path / "link.csv", tmp_path / "store.db"):
        with pytest.raises(InputError, match="name another file"):
            _import(tmp_path, refused=over)
    assert path.read_bytes() == before
    assert not (tmp_path / "store.db").exists()


def test_good_rows_are_kept_and_refused_ones_listed(tmp_path: Path) -> None:
    _write(tmp_path, GOOD + "u3,i3,x,1\n")
    report = _import(tmp_path)
    assert report.files[0].added == 2
    assert report.files[0].refused == {"bad-value": 1}
    assert report.refusals == tmp_path / "store.db.refused.csv"
    assert "bad-value" in report.refusals.read_text()


def test_strict_refuses_everything(tmp_path: Path) -> None:
    _write(tmp_path, GOOD + "u3,i3,x,1\n")
    catalogue = _write(tmp_path, "item,title\ni1,one\n", "items.csv")
    with pytest.raises(InputError, match="bad-value: 1"):
        _import(tmp_path, strict=True, catalogue=catalogue)
    stores = open_stores(_store(tmp_path))
    assert stores.events.last_sequence() == 0
    assert len(stores.catalog.read()) == 0
    stores.close()
    _write(tmp_path, GOOD)
    assert _import(tmp_path, strict=True, catalogue=catalogue).files[0].added == 2


def test_catalogue_and_users_come_along_and_titles_of_events_do_not_replace_them(tmp_path: Path) -> None:
    _write(tmp_path, "user,item,title\nu,a,from events\nu,b,also\n")
    items = _write(tmp_path, "item,title\na,from catalogue\n", "items.csv")
    people = _write(tmp_path, "user,age\nu,3\n,4\n", "users.csv")
    report = _import(tmp_path, catalogue=items, users=people)
    assert (report.catalogue, report.users, report.titled) == (1, 2, 1)
    assert report.refused_elsewhere == {"missing-user": 1}
    stores = open_stores(_store(tmp_path))
    assert list(stores.catalog.read().title) == ["from catalogue", "also"]
    stores.close()


def test_a_file_that_is_named_twice_is_imported_once(tmp_path: Path, cli: typer.Typer) -> None:
    path = _write(tmp_path, GOOD + "u3,i3,x,1\n")
    (tmp_path / "link.csv").symlink_to(path)
    names = [str(path), str(tmp_path / "link.csv"), str(tmp_path / ".." / tmp_path.name / "events.csv")]
    report = ingest(IngestRequest(names, _store(tmp_path)))
    assert [(file.file, file.refused) for file in report.files] == [(names[0], {"bad-value": 1})]
    assert report.repeated == names[1:]
    shown = CliRunner().invoke(cli, [*names, "--store", _store(tmp_path)])
    assert "link.csv is named more than once" in shown.output


def test_requests_that_ask_for_nothing_or_for_too_much(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to import"):
        ingest(IngestRequest([], _store(tmp_path)))
    with pytest.raises(InputError, match="once"):
        ingest(IngestRequest(["-", "-"], _store(tmp_path)))


@pytest.fixture
def cli() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def test_the_command_prints_counts(tmp_path: Path, cli: typer.Typer) -> None:
    path = _write(tmp_path, GOOD.replace("user_id", "buyer_name") + ",i,1,1\n")
    arguments = [str(path), "--store", _store(tmp_path), "--map", "buyer_name=user_id", "--map", "gone=title"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert "missing-user" in shown.output
    assert "refused rows are listed in" in shown.output
    assert "'gone'" in shown.output
    again = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(again.output)["files"][0]["known"] == 2


def test_names_of_files_are_shown_as_they_are(tmp_path: Path, cli: typer.Typer) -> None:
    names = [os.fsdecode(os.fsencode(tmp_path) + part) for part in (b"/[red]a[/b].csv", b"/\xd6\xd0.csv")]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(GOOD)
    shown = CliRunner().invoke(cli, [*names, "--store", _store(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "[red]a[/b].csv" in shown.output
    assert r"\xd6\xd0.csv" in shown.output


def test_the_command_explains_a_wrong_mapping(tmp_path: Path, cli: typer.Typer) -> None:
    result = CliRunner().invoke(cli, ["x.csv", "--store", _store(tmp_path), "--map", "user_id"])
    assert isinstance(result.exception, InputError)
    assert "COLUMN=NAME" in str(result.exception)


_TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8).filter(
    lambda text: text.strip() == text and text.lower() not in {"nan", "null", "none", "\\n", "n/a", "<na>"}
)


# Eight digits read as a date (19850701), so they stand for no second of 1970.
_SECONDS = st.integers(0, 1_700_000_000).filter(lambda seconds: len(str(seconds)) != 8)


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(_TEXTS, _TEXTS, st.floats(-1e15, 1e15), _SECONDS),
        min_size=1,
        max_size=20,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_a_written_table_is_read_back(rows: list[Any], quoting: Any, encoding: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting)
    writer.writerow(["user_id", "item_id", "rating", "timestamp"])
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        events, log = _read(_write(Path(folder), text.getvalue().encode(encoding)))
    assert log.total == 0
    assert list(zip(events.user_id, events.item_id, events.value, events.timestamp // 1000, strict=True)) == rows
