"""A generative language model behind OpenAI's `POST /v1/chat/completions`: hosted, vLLM, llama.cpp, Ollama.

What others wrote reaches the model as the values of one JSON object between the program's own words, without the
characters in which chat templates write their marks (`<|im_start|>`, `[INST]`), and without invisible ones.
"""

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Completion, Prompt
from zhiyin.encoders.asking import Server

KEY_VARIABLE = "LANGUAGE_MODEL_API_KEY"

TEXT_CHARACTERS = 4_000
"""Of a longer text the beginning is sent: one item must not keep the model from the others for long."""

ALTERNATIVES = 20
"""Likeliest tokens asked for, the most that servers commonly tell."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_MARKS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>[]"})


class ChatEndpoint:
    """`zhiyin.core.models.LanguageModel` of `MODEL@URL`; the key is read from the environment."""

    def __init__(self, argument: str, pause: float | None = None) -> None:
        """argument: as in `m@http://localhost:8080/v1`. Raises `ConfigError` for another form.

        pause: seconds before what failed in passing is asked again, within its deadline; None asks once.
        """
        try:
            self._server = Server.named(argument, "chat/completions", "completion", KEY_VARIABLE)
        except ConfigError as error:
            raise ConfigError(f"language model {error}") from error
        self._pause = pause
        self.fingerprint = f"{self._server.model}@{self._server.base}"

    def complete(self, prompt: Prompt, tokens: int, deadline: float, *, weighed: bool = False) -> Completion:
        body: dict[str, Any] = {
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": f"{fenced(prompt.data)}\n{prompt.question}"},
            ],
            "max_tokens": tokens,
            "temperature": 0,
        }
        if weighed:
            body |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
        return _completion(self._server.ask(body, deadline, self._pause), self._server.url)


def fenced(data: Mapping[str, str]) -> str:
    """`data` as a JSON object that no value can end, nor write a chat template's marks in."""
    values = {name: plain(text, TEXT_CHARACTERS) for name, text in data.items()}
    return json.dumps(values, ensure_ascii=False).translate(_MARKS)


def plain(text: str, limit: int) -> str:
    """The first `limit` characters of `text` in one line, without what cannot be seen."""
    seen = (
        letter for letter in text[: 2 * limit] if letter.isspace() or unicodedata.category(letter) not in _INVISIBLE
    )
    return " ".join("".join(seen).split())[:limit]


def _completion(answer: bytes, url: str) -> Completion:
    try:
        choice = json.loads(answer)["choices"][0]
        text = choice["message"]["content"] or ""
        weighed = (choice.get("logprobs") or {}).get("content") or ()
        first = _first(weighed)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{url}: the answer holds no completion; see that the URL is an OpenAI-compatible one"
        ) from error
    if not isinstance(text, str):
        raise ConfigError(f"{url}: the answer is no text; see that the URL is an OpenAI-compatible one")
    return Completion(text, first)


def _first(weighed: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of the first token that is not blank: probabilities by token, blanks around it apart."""
    for place in weighed:
        if place["token"].strip():
            found: dict[str, float] = {}
            for other in place["top_logprobs"]:
                token, logarithm = other["token"].strip(), float(other["logprob"])
                if logarithm <= 0:
                    found[token] = found.get(token, 0.0) + math.exp(logarithm)
            return found
    return {}
