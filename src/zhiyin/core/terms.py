"""Words of texts, of scripts that set them apart and of those that do not."""

import re
import unicodedata
from itertools import pairwise

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Chinese characters."""

RUNS = re.compile(rf"(?P<unspaced>[{UNSPACED}]+)|[^\W_{UNSPACED}]+")


def terms(text: str, *, singles: bool) -> list[str]:
    """Words in lower case; of scripts without spaces, pairs of neighbouring characters.

    singles: every character of such scripts too, not only one that stands alone.
    """
    found: list[str] = []
    for run in RUNS.finditer(unicodedata.normalize("NFKC", text).lower()):
        word = run[0]
        if not run["unspaced"]:
            found.append(word)
            continue
        if singles or len(word) == 1:
            found += word
        found += map("".join, pairwise(word))
    return found
