"""What all texts that a language model writes share."""

import hashlib

from zhiyin.core.models import LanguageModel, Prompt
from zhiyin.encoders.language_model import fenced, plain

DESCRIPTION_SOURCE, GENERATED = "description_source", "generated"
"""The attribute of an item, and its value, where not the shop but a model wrote its description."""

_ENDS = ".!?。！？"


def basis_of(model: LanguageModel, prompt: Prompt) -> str:
    """sha256 (hex) of all that an answer is made of; equal for what need not be asked again."""
    parts = (model.fingerprint, prompt.instructions, fenced(prompt.data), prompt.question)
    return hashlib.sha256("\x1e".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def whole_sentences(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters, without a sentence that its end was cut off, if it has others.

    Empty where nothing was said.
    """
    line = plain(text, limit)
    end = max(line.rfind(mark) for mark in _ENDS) + 1
    return line[:end] if end else line
