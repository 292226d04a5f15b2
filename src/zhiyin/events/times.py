"""Points in time as people and programs write them."""

import polars as pl

EARLIEST_MS = 0
"""1970-01-01, UTC: a time before is a mistake of the file."""

_BEYOND_MS = 2**62
"""A number too large for a time is read as this, later than any time."""

_DATES = ("%Y-%m-%d", "%m-%d-%Y", "%d.%m.%Y")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")


def parse_times(column: pl.Series) -> pl.Series:
    """Milliseconds since 1970-01-01 UTC (Int64), null where the text is no time.

    Read are: epoch seconds, milliseconds, microseconds and nanoseconds, told by their size; ISO 8601 with or without
    a zone; year-month-day with -, / or 年月日; month/day/year; day.month.year; a clock with or without seconds or
    AM/PM. A time without a zone is UTC. Eight or fourteen digits that begin with 19 or 20 are a date (20231114,
    20231114221320), not epoch seconds (of 1970) or milliseconds.
    """
    texts = column.str.strip_chars()
    numeric = texts.str.contains(r"^[+-]?\d+(\.\d*)?([eE][+]?\d+)?$") & ~texts.str.contains(r"^(19|20)\d{6}(\d{6})?$")
    found = pl.Series(values=None, dtype=pl.Int64).extend_constant(None, len(texts))
    if numeric.any():
        found = _epoch(texts.set(~numeric, None))
    written = (~numeric).fill_null(value=False).arg_true()
    if len(written):
        found = found.scatter(written, _calendar(texts.gather(written)))
    return found.alias(column.name)


def _epoch(texts: pl.Series) -> pl.Series:
    number = texts.cast(pl.Float64, strict=False)
    whole = texts.cast(pl.Int64, strict=False)
    size = number.abs()
    milliseconds = (
        pl.when(size < 1e11)
        .then((number * 1000).round(0).clip(-9e17, 9e17).cast(pl.Int64, strict=False))
        .when(size < 1e14)
        .then(whole.fill_null(number.clip(-9e17, 9e17).cast(pl.Int64, strict=False)))
        .when(size < 1e17)
        .then(whole // 1000)
        .otherwise(pl.coalesce(whole // 1_000_000, pl.lit(_BEYOND_MS)))
    )
    return pl.select(pl.when(number.is_not_null()).then(milliseconds)).to_series()


def _calendar(texts: pl.Series) -> pl.Series:
    plain = (
        texts.str.replace(r"\s+UTC$", "")
        .str.replace(r"^((?:19|20)\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$", "$1-$2-$3 $4:$5:$6")
        .str.replace(r"^((?:19|20)\d\d)(\d\d)(\d\d)$", "$1-$2-$3")
        .str.replace_all(r"[年月/]", "-")
        .str.replace_all(r"日\s*", " ")
        .str.replace(r"^(\S+?)[Tt](\d)", "$1 $2")
        .str.replace(r"\s*[Zz]$", "+00:00")
        .str.strip_chars()
    )
    zone = plain.str.extract(r":\d\d(?:\.\d+)?\s*([+-]\d\d(?::?\d\d)?)$")
    moment = pl.select(
        pl.when(zone.is_null()).then(plain).otherwise(plain.str.replace(r"\s*[+-]\d\d(?::?\d\d)?$", ""))
    ).to_series()
    found = pl.Series(values=None, dtype=pl.Datetime("ms")).extend_constant(None, len(texts))
    for form in (*(f"{date} {clock}" for date in _DATES for clock in _CLOCKS), *_DATES):
        open_ = moment.set(found.is_not_null(), None)
        if open_.null_count() == len(open_):
            break
        found = pl.select(pl.coalesce(found, open_.str.to_datetime(form, time_unit="ms", strict=False))).to_series()
    digits = zone.str.replace(":", "")
    minutes = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(
        pl.Int64, strict=False
    ).fill_null(0)
    signed = pl.select(pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)).to_series().fill_null(0)
    return found.dt.epoch("ms") - signed * 60_000
