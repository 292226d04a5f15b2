"""From text columns to checked ones: every row is good, or refused for one reason."""

import time

import polars as pl

from zhiyin.core.arrays import IntVector
from zhiyin.core.events import AHEAD_MS, MAX_ID_LENGTH, MAX_VALUE
from zhiyin.events.refusals import SHOWN, Refusal, Refusals
from zhiyin.events.times import EARLIEST_MS, parse_times

EVENT_CHARACTERS = 64
_CONTROL = r"\p{Cc}"
_MISSING = ("", "nan", "null", "none", "\\n", "n/a", "<na>")

_KINDS = {
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
    "购买": "purchase",
    "下单": "purchase",
    "pv": "view",
    "pageview": "view",
    "浏览": "view",
    "查看": "view",
    "read": "view",
    "点击": "click",
    "add-to-cart": "cart",
    "addtocart": "cart",
    "加购": "cart",
    "加入购物车": "cart",
    "fav": "like",
    "favorite": "like",
    "收藏": "like",
    "点赞": "like",
    "喜欢": "like",
    "播放": "play",
    "watch": "play",
    "listen": "play",
    "分享": "share",
    "不喜欢": "dislike",
    "踩": "dislike",
    "不感兴趣": "not-interested",
    "退货": "return",
    "曝光": "impression",
    "rate": "rating",
    "评分": "rating",
}

_TEXT = ("user_id", "item_id", "session_id", "event_id", "recommendation_id")


def check_events(frame: pl.DataFrame, rows: IntVector, default: str, file: str, log: Refusals) -> pl.DataFrame:
    """The good rows of `frame`, whose columns are texts under canonical names, with typed columns.

    Adds the columns of `Events` that are absent; keeps others (title, price as number). default: the kind of event
    where the file does not say. A refused row goes to `log` under its number in `rows`.
    """
    raw = frame
    for name in (*_TEXT, "event", "value", "timestamp", "position", "price", "title"):
        if name not in raw.columns:
            raw = raw.with_columns(pl.lit(None, pl.String).alias(name))
    clean = raw.with_columns(pl.all().str.strip_chars())
    typed = clean.with_columns(
        *(pl.when(pl.col(name).str.len_chars() > 0).then(pl.col(name)).alias(name) for name in clean.columns)
    )
    kinds = pl.col("event").str.to_lowercase().str.replace_all(r"[_\s]+", "-")
    typed = typed.with_columns(
        *(
            pl.when(~pl.col(name).str.to_lowercase().is_in(_MISSING)).then(pl.col(name)).alias(name)
            for name in ("user_id", "item_id")
        ),
        kinds.replace(_KINDS).fill_null(default).alias("event"),
        pl.col("value").cast(pl.Float64, strict=False),
        pl.col("position").cast(pl.Int64, strict=False),
        pl.col("price").cast(pl.Float64, strict=False),
        parse_times(typed["timestamp"]).alias("timestamp"),
    )
    verdict = typed.select(_verdict(clean, typed).alias("verdict"))["verdict"]
    bad = verdict.is_not_null()
    if bad.any():
        for place in bad.arg_true().to_list():
            reason, name = verdict[place].split(" ")
            value = raw[name][place] or ""
            log.add(Refusal(file, int(rows[place]), name, value[:SHOWN], reason))
        typed = typed.filter(~bad)
    return typed


def _verdict(clean: pl.DataFrame, typed: pl.DataFrame) -> pl.Expr:
    latest = time.time_ns() // 1_000_000 + AHEAD_MS
    said = {name: (clean[name].str.len_chars() > 0).fill_null(value=False) for name in clean.columns}
    checks: list[tuple[pl.Series, str]] = [
        (typed["user_id"].is_null(), "missing-user user_id"),
        (typed["item_id"].is_null(), "missing-item item_id"),
        *((clean[name].str.len_chars() > MAX_ID_LENGTH, f"field-too-large {name}") for name in _TEXT),
        *((clean[name].str.contains(_CONTROL), f"control-character {name}") for name in (*_TEXT, "event")),
        (typed["event"].str.len_chars() > EVENT_CHARACTERS, "field-too-large event"),
        (said["timestamp"] & typed["timestamp"].is_null(), "bad-timestamp timestamp"),
        (~typed["timestamp"].is_between(EARLIEST_MS, latest), "time-out-of-range timestamp"),
        *(
            check
            for name in ("value", "price")
            for check in (
                (said[name] & typed[name].is_null(), f"bad-value {name}"),
                (~typed[name].is_finite(), f"not-finite {name}"),
                (typed[name].abs() > MAX_VALUE, f"out-of-range {name}"),
            )
        ),
        (said["position"] & (typed["position"].is_null() | (typed["position"] < 0)), "bad-position position"),
    ]
    return pl.coalesce(
        *(pl.when(test.fill_null(value=False)).then(pl.lit(code)).otherwise(None) for test, code in checks)
    )
