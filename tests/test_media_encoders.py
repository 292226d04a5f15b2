"""Encoders of images and sounds, the files they read, and the catalogue that names them."""

import base64
import logging
import wave
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_encoder
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content, Encoder
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders import vision, weights
from zhiyin.encoders.cache import encode_cached
from zhiyin.encoders.media import FRAMES, SECONDS, SIDE, UnreadableError, pictures, sound
from zhiyin.encoders.torch_files import tensors
from zhiyin.encoders.weights import installed, packaged
from zhiyin.storage.opening import open_stores
from zhiyin.testing.encoder_conformance import registered_encoders
from zhiyin.testing.media_conformance import CHECKS, MediaCase, Modality

IMAGE_ENCODERS, SOUND_ENCODERS = registered_encoders("image"), registered_encoders("audio")
RATE = 16_000

without_weights = pytest.mark.skipif(not installed("aisfx"), reason="pip install --no-deps aisfx==0.1.2")


# -- what every encoder does ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Modality], MediaCase]:
    @cache
    def made(name: str, modality: Modality) -> MediaCase:
        makers = IMAGE_ENCODERS if modality == "image" else SOUND_ENCODERS
        return MediaCase.of(makers[name], modality, tmp_path_factory.mktemp("media"))

    return made


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("name", "modality"),
    [
        *((name, "image") for name in IMAGE_ENCODERS),
        *(pytest.param(name, "audio", marks=without_weights if name == "aisfx" else ()) for name in SOUND_ENCODERS),
    ],
)
def test_encoder_conforms(
    case_of: Callable[[str, Modality], MediaCase],
    name: str,
    modality: Modality,
    check: Callable[[MediaCase], None],
) -> None:
    check(case_of(name, modality))


def test_the_built_in_encoders_are_registered() -> None:
    assert {"efficientnet-lite"} <= set(IMAGE_ENCODERS)
    assert {"aisfx", "mel-statistics"} <= set(SOUND_ENCODERS)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("efficientnet-lite", r"pip install 'zhiyin\[image\]'"),
        ("mel-statistics", r"pip install 'zhiyin\[audio\]'"),
        ("aisfx", r"pip install 'zhiyin\[audio\]'; pip install --no-deps aisfx==0\.1\.2"),
        ("vision:org/model", r"pip install 'zhiyin\[image,text\]'"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str, advice: str) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setattr(vision, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=advice):
        make_encoder(name)


def test_weights_are_those_that_were_pinned() -> None:
    with pytest.raises(ConfigError, match="install the pinned version of 'PIL'"):
        packaged("PIL", "Image.py", "0" * 64)


@pytest.mark.parametrize("new", [True, False])
def test_tensors_are_read_without_unpickling(tmp_path: Path, new: bool) -> None:
    saved = {
        "weight": torch.rand(3, 4, 5).permute(2, 0, 1),
        "count": torch.tensor(7),
        "part": torch.arange(10.0)[2:8:2],
    }
    torch.save((OrderedDict(saved), {"rate": 3}), tmp_path / "saved.pth", _use_new_zipfile_serialization=new)
    found = tensors(tmp_path / "saved.pth")
    assert list(found) == list(saved)
    for name, tensor in saved.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("new", [True, False])
def test_what_a_file_of_weights_would_do_is_not_done(tmp_path: Path, new: bool) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"trap": Trap()}, tmp_path / "saved.pth", _use_new_zipfile_serialization=new)
    with suppress(ValueError):
        assert tensors(tmp_path / "saved.pth") == {}
    assert not (tmp_path / "sprung").exists()


# -- broken files -----------------------------------------------------------------------------------------------------


def test_broken_files_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, cut = tmp_path / "good.png", tmp_path / "cut.png"
    photograph(64).save(good)
    cut.write_bytes(good.read_bytes()[:-200])
    places = ["missing.png", str(good), str(cut), None, "https://localhost/a.png"]
    with caplog.at_level(logging.WARNING):
        vectors = make_encoder("efficientnet-lite").encode([Content(image=place) for place in places])
    assert vectors.any(axis=1).tolist() == [False, True, False, False, False]
    (message,) = caplog.messages
    assert message == "efficientnet-lite: 3 of 4 files are not read: missing.png (there is no such file)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "InvalidData|EOF"),
        (b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n", "Invalid"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "Invalid"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "Invalid"),
    ],
)
def test_playlists_and_programs_are_not_followed(tmp_path: Path, content: bytes, reason: str) -> None:
    place = tmp_path / "file.png"
    place.write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        pictures(str(place))
    with pytest.raises(UnreadableError, match=reason):
        sound(str(place), RATE)


def test_a_picture_too_large_to_be_safe_is_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (10_000, 9_500)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableError, match="decompression bomb"):
        pictures(str(tmp_path / "bomb.png"))


@cache
def samples_of_files() -> tuple[bytes, ...]:
    """A picture, an animation, a video with sound, and a sound."""
    folder = Path(mkdtemp())
    photograph(32).save(folder / "0.jpg")
    photograph(32).save(folder / "1.gif", save_all=True, append_images=[photograph(32, 1)])
    write_video(folder / "2.mp4", [90] * 12, tone(440, 0.5))
    write_sound(folder / "3.wav", tone(440, 0.5))
    return tuple(path.read_bytes() for path in sorted(folder.iterdir()))


@settings(max_examples=100)
@given(which=st.integers(0, 3), cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_damaged_files_are_read_or_told(which: int, cut: float, flips: list[tuple[float, int]]) -> None:
    data = bytearray(samples_of_files()[which])
    for share, value in flips:
        data[int(share * (len(data) - 1))] = value
    place = "data:;base64," + base64.b64encode(data[: int(cut * len(data))]).decode()
    with suppress(UnreadableError):
        assert all(image.mode == "RGB" for image in pictures(place))
    with suppress(UnreadableError):
        assert sound(place, RATE).dtype == np.float32


# -- pictures ---------------------------------------------------------------------------------------------------------


def photograph(side: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    turned = image.getexif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    (found,) = pictures(str(tmp_path / "turned.jpg"))
    assert found.size == (20, 40)


def test_transparency_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (found,) = pictures(str(tmp_path / "clear.png"))
    assert found.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "ending"), [("L", "png"), ("P", "gif"), ("CMYK", "jpg"), ("1", "tiff"), ("RGB", "webp")]
)
def test_pictures_of_all_kinds_are_rgb(tmp_path: Path, mode: str, ending: str) -> None:
    photograph(16).convert(mode).save(tmp_path / f"picture.{ending}")
    (found,) = pictures(str(tmp_path / f"picture.{ending}"))
    assert (found.mode, found.size) == ("RGB", (16, 16))


def test_a_large_photograph_is_decoded_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (4 * SIDE, 3 * SIDE)).save(tmp_path / "large.jpg")
    (found,) = pictures(str(tmp_path / "large.jpg"))
    assert SIDE <= min(found.size) < 3 * SIDE


def test_all_shades_of_a_deep_picture_count(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 25_600, 51_200]], np.uint16)).save(tmp_path / "deep.png")
    (found,) = pictures(str(tmp_path / "deep.png"))
    assert np.asarray(found)[0, :, 0].tolist() == [0, 100, 200]


@pytest.mark.parametrize(("size", "seen"), [((1, 1), (1, 1)), ((2_000, 3), (48, 3)), ((3, 2_000), (3, 48))])
def test_odd_shapes_are_read(tmp_path: Path, size: tuple[int, int], seen: tuple[int, int]) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "odd.png")
    assert pictures(str(tmp_path / "odd.png"))[0].size == seen
    assert make_encoder("efficientnet-lite").encode([Content(image=str(tmp_path / "odd.png"))]).any()


def test_an_animation_is_read_by_its_frames(tmp_path: Path) -> None:
    frames = [Image.new("L", (32, 32), shade) for shade in range(0, 240, 10)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    shades = [image.getpixel((0, 0))[0] for image in pictures(str(tmp_path / "animated.gif"))]
    assert shades == list(range(10, 240, 30))
    assert len(shades) == FRAMES


# -- videos and sounds ------------------------------------------------------------------------------------------------


def write_video(path: Path, shades: list[int], samples: NDArray[np.float32] | None = None) -> str:
    """24 frames a second of one shade of grey each."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=24)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream("aac", rate=RATE, layout="mono") if samples is not None else None
        for shade in shades:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8))
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if voice is not None and samples is not None:
            heard = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            heard.sample_rate, heard.time_base, heard.pts = RATE, Fraction(1, RATE), 0
            container.mux(voice.encode(heard))
            container.mux(voice.encode())
    return str(path)


def tone(hertz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return np.float32(0.5) * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def write_sound(path: Path, samples: NDArray[Any], channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.repeat(samples, channels) * 32_767).astype("<i2").tobytes())
    return str(path)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "avi"])
def test_a_video_is_read_by_frames_over_its_length(tmp_path: Path, ending: str) -> None:
    place = write_video(tmp_path / f"video.{ending}", [40] * 24 + [200] * 24)
    shades = [np.asarray(image).mean() for image in pictures(place)]
    np.testing.assert_allclose(shades, [40] * (FRAMES // 2) + [200] * (FRAMES // 2), atol=8)


def test_the_vector_of_a_video_lies_between_those_of_its_scenes(tmp_path: Path) -> None:
    dark, light, both = (
        write_video(tmp_path / f"{name}.mp4", shades)
        for name, shades in {"dark": [0] * 24, "light": [250] * 24, "both": [0] * 12 + [250] * 12}.items()
    )
    first, second, mixed = make_encoder("efficientnet-lite").encode(
        [Content(image=place) for place in (dark, light, both)]
    )
    assert min(mixed @ first, mixed @ second) > first @ second


def test_what_lies_before_a_damaged_place_counts(tmp_path: Path) -> None:
    video = Path(write_video(tmp_path / "video.mkv", [90] * 48))
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert pictures(str(video))
    whole = Path(write_sound(tmp_path / "sound.wav", tone(440)))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 0.4 * RATE < len(sound(str(whole), RATE)) < 0.6 * RATE


def test_a_soundtrack_is_heard(tmp_path: Path) -> None:
    alone = write_sound(tmp_path / "alone.wav", tone(440))
    with_pictures = write_video(tmp_path / "video.mp4", [90] * 24, tone(440))
    other = write_sound(tmp_path / "other.wav", tone(1_800))
    silent = write_video(tmp_path / "silent.mp4", [90] * 24)
    contents = [Content(audio=place) for place in (alone, with_pictures, other, silent)]
    vectors = make_encoder("mel-statistics").encode(contents)
    assert vectors[0] @ vectors[1] > 0.9 > vectors[0] @ vectors[2]
    assert not vectors[3].any()


def test_silence_has_nothing_to_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = write_sound(tmp_path / "silence.wav", np.zeros(RATE))
    assert not make_encoder("mel-statistics").encode([Content(audio=place)]).any()
    assert not caplog.messages


def test_the_beginning_of_a_long_sound_is_heard_at_any_rate_and_in_one_channel(tmp_path: Path) -> None:
    place = write_sound(tmp_path / "long.wav", tone(440, SECONDS + 5), channels=2)
    samples = sound(place, 44_100)
    assert samples.shape == (SECONDS * 44_100,)
    spectrum = np.abs(np.fft.rfft(samples[:44_100]))
    assert spectrum.argmax() == 440


@without_weights
def test_a_long_sound_is_the_mean_of_its_windows(tmp_path: Path) -> None:
    low, high = tone(200, 2.4), tone(3_000, 2.4)
    parts = {"low": low, "high": high, "both": np.concatenate([low, high])}
    places = [write_sound(tmp_path / f"{name}.wav", samples) for name, samples in parts.items()]
    first, second, mixed = make_encoder("aisfx").encode([Content(audio=place) for place in places])
    assert min(mixed @ first, mixed @ second) > first @ second


# -- models of Hugging Face -------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@cache
def model_folder(kind: str) -> str:
    """A tiny model of that kind with random weights."""
    import transformers  # noqa: PLC0415  it takes seconds
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error  # noqa: PLC0415

    disable_progress_bar()  # type: ignore[no-untyped-call]
    set_verbosity_error()  # type: ignore[no-untyped-call]
    folder = mkdtemp()
    torch.manual_seed(0)
    seeing: dict[str, Any] = {"image_size": 32, "patch_size": 8}
    model: Any
    if kind == "clip":
        parts: dict[str, Any] = {"text_config": {**SMALL, "vocab_size": 99}, "vision_config": {**SMALL, **seeing}}
        model = transformers.CLIPModel(transformers.CLIPConfig(**parts, projection_dim=16))
    elif kind == "convnext":
        config = transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=32)
        model = transformers.ConvNextModel(config)
    elif kind == "bert":
        model = transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=99))
    else:
        model = transformers.ViTModel(transformers.ViTConfig(**SMALL, **seeing), add_pooling_layer=kind == "vit")
    model.save_pretrained(folder)
    if kind != "bert":
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil  # noqa: PLC0415

        ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("check", CHECKS[:-1], ids=lambda check: check.__name__)
@pytest.mark.parametrize(("kind", "dim"), [("vit", 32), ("vit without a pooler", 32), ("clip", 16), ("convnext", 16)])
def test_vision_conforms(tmp_path: Path, kind: str, dim: int, check: Callable[[MediaCase], None]) -> None:
    case = MediaCase.of(lambda: make_encoder(f"vision:{model_folder(kind)}"), "image", tmp_path)
    assert case.encoder.dim == dim
    check(case)


def test_vision_refuses_what_does_not_see(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tells not how it takes pictures"):
        _ = make_encoder(f"vision:{model_folder('bert')}").dim
    with pytest.raises(ConfigError, match="there is no folder /no/such/folder"):
        make_encoder("vision:/no/such/folder")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="pickles are not read"):
        make_encoder(f"vision:{tmp_path}")


# -- a catalogue ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with events, and a catalogue that names a picture and a sound beside it."""
    (tmp_path / "media").mkdir()
    photograph(64).save(tmp_path / "media" / "poster.png")
    write_sound(tmp_path / "media" / "song.wav", tone(440))
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    (tmp_path / "items.csv").write_text(
        "item_id,title,image,audio\n"
        f"a,A,media/poster.png,{tmp_path}/media/song.wav\n"
        "b,B,https://localhost/b.png,media/missing.wav\n"
        "c,C,,\n"
    )
    return tmp_path


def stored(folder: Path) -> tuple[str, Catalog]:
    url = f"sqlite:///{folder}/shop.db"
    ingest(IngestRequest([folder / "events.csv"], url, catalogue=folder / "items.csv"))
    stores = open_stores(url)
    catalog = stores.catalog.read()
    stores.close()
    return url, catalog


def test_media_lie_where_the_catalogue_lies(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    _, catalog = stored(shop)
    assert catalog.image.tolist() == [f"{shop}/media/poster.png", "https://localhost/b.png", None]
    assert catalog.audio.tolist() == [f"{shop}/media/song.wav", f"{shop}/media/missing.wav", None]


def test_a_data_set_holds_what_is_seen_and_heard(shop: Path) -> None:
    url, _ = stored(shop)
    names = ("hashed-ngrams", "efficientnet-lite", "mel-statistics")
    data = prepare_dataset(url, PreparationSettings(encoders=names), shop / "vectors")
    assert tuple(data.content) == names
    rows = [data.items.row(item) for item in "abc"]
    for name in names[1:]:
        assert data.content[name][rows].any(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize("change", [("media/poster.png", "media/cover.png"), ("song.wav", "tune.wav")])
def test_the_fingerprint_of_a_data_set_knows_its_media(shop: Path, change: tuple[str, str]) -> None:
    settings = PreparationSettings(encoders=())
    before = prepare_dataset(stored(shop)[0], settings).fingerprint
    items = shop / "items.csv"
    items.write_text(items.read_text().replace(*change))
    assert prepare_dataset(stored(shop)[0], settings).fingerprint != before


def test_a_picture_that_arrives_later_is_encoded(tmp_path: Path) -> None:
    place = tmp_path / "later.png"
    encoder: Encoder = make_encoder("efficientnet-lite")
    contents = [Content(image=str(place))]
    assert not encode_cached(encoder, contents, tmp_path / "vectors").any()
    photograph(64).save(place)
    assert encode_cached(encoder, contents, tmp_path / "vectors").any()
