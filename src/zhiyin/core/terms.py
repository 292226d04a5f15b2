"""Words of texts, of scripts that set them apart and of those that do not."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise

KANA = "\u3040-\u30ff"
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = KANA + HAN
"""Scripts that do not set words apart, as ranges of characters."""

RUNS = re.compile(rf"(?P<unspaced>[{UNSPACED}]+)|[^\W_{UNSPACED}]+")


def counted(
    documents: Sequence[str | None], *, singles: bool, vocabulary: Mapping[str, int] | None = None
) -> tuple[dict[str, int], list[int], list[int]]:
    """Columns of terms, and the `terms` of each document as columns and row starts.

    A term that occurs again stands there again. vocabulary: the columns of those that count; None counts all, in the
    order of first mention.
    """
    known = dict(vocabulary or {})
    columns: list[int] = []
    starts = [0]
    for document in documents:
        found = terms(document or "", singles=singles)
        if vocabulary is None:
            for term in found:
                known.setdefault(term, len(known))
        columns += [known[term] for term in found if term in known]
        starts.append(len(columns))
    return known, columns, starts


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
