"""Items found by words, over the catalogue as it is served."""

import threading

from zhiyin.app.serving.people import Person
from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.views import ItemView
from zhiyin.app.words import Words, WordsRequest
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Encoder


class Finder:
    """Searches of one service. Safe to use from several threads where the encoder is.

    The first search over a state encodes what of its catalogue the search before did not know, while others wait.
    """

    def __init__(self) -> None:
        self._latest: tuple[ServingState, Words] | None = None
        self._building = threading.Lock()

    def find(
        self, state: ServingState, person: Person | None, request: WordsRequest, now: int
    ) -> list[tuple[ItemView, float]]:
        """At most `request.n` eligible items with their scores, the best first.

        person: whose seen items are left out, and whose own scores count where they like anything.
        Raises `ConfigError` where the system reads no text, otherwise as `Words.find` does.
        """
        words = self._words_of(state)
        if person is None:
            best = words.find(request, now)
        else:
            # Scores of someone who likes nothing yet say nothing of them, so they do not move a search.
            own = state.model.score([person.query])[0] if person.likes else None
            best = words.find(request, now, person.seen, own)
        return [(state.view(int(r)), float(s)) for r, s in zip(best.rows[0], best.scores[0], strict=True) if r >= 0]

    def _words_of(self, state: ServingState) -> Words:
        with self._building:
            latest = self._latest
            if latest is not None and latest[0] is state:
                return latest[1]
            if latest is not None and latest[0].system is state.system:
                words = latest[1].over(state.catalog)
            else:
                words = Words(state.catalog, _text_encoder(state))
            self._latest = state, words
            return words


def _text_encoder(state: ServingState) -> Encoder:
    """The first encoder of text that the system was trained with."""
    for name in state.system.settings.encoders:
        encoder = state.reader.encoder(name)
        if "text" in encoder.modalities:
            return encoder
    raise ConfigError(
        f"system {state.system.manifest.manifest_id} was trained without an encoder of text and cannot search by "
        'words; set encoders = ["use-multilingual"] under [preparation] and train again'
    )
