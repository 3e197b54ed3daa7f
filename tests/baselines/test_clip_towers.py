"""CLIP's encoders: weights are read as data, fit or are refused, and are never fetched."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from zslkit_baselines import clip_towers as subject
from zslkit_baselines.clip_towers import cached_file, clip_model, embed_texts, image_encoder

from zslkit.errors import MissingWeights, UnknownName, UserError

pytest.importorskip("open_clip", reason="the extra `clip` is not installed")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights that are not those of weights=random."""
    model, _ = clip_model("tiny", "random")
    return {
        k: v + 0.01 if v.is_floating_point() and v.ndim > 1 else v.clone()
        for k, v in model.state_dict().items()
    }


def written(path: Path, state: dict[str, Any]) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
def test_weights_from_a_file_are_the_models(
    tmp_path: Path, state: dict[str, Tensor], name: str
) -> None:
    model, label = clip_model("tiny", written(tmp_path / name, state))
    assert label == f"file {name}"
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_a_checkpoint_of_a_training_is_read_too(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    model, _ = clip_model("tiny", written(tmp_path / "w.pt", wrapped))
    assert torch.equal(
        model.state_dict()["token_embedding.weight"], state["token_embedding.weight"]
    )


def test_half_precision_is_widened(tmp_path: Path, state: dict[str, Tensor]) -> None:
    model, _ = clip_model(
        "tiny", written(tmp_path / "w.safetensors", {k: v.half() for k, v in state.items()})
    )
    got = model.state_dict()["visual.proj"]
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, state["visual.proj"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda s: {k: v for k, v in s.items() if k != "text_projection"},
            r"1 of \d+ tensors.*\(text_projection\)",
        ),
        (lambda s: s | {"visual.more": torch.ones(2)}, r"too many.*\(visual\.more\)"),
        (lambda s: s | {"visual.proj": torch.ones(3, 3)}, r"another shape \(visual\.proj\)"),
        (
            lambda s: s | {"visual.proj": s["visual.proj"] * float("nan")},
            r"not finite \(visual\.proj\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, state: dict[str, Tensor], change: Any, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        clip_model("tiny", written(tmp_path / "w.safetensors", change(state)))


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.pth"])
def test_nothing_in_a_weights_file_is_run(tmp_path: Path, name: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / name
    path.write_bytes(pickle.dumps({"state_dict": _Hostile(mark)}, protocol=2))
    with pytest.raises(UserError, match="cannot be read as weights"):
        clip_model("tiny", str(path))
    torch.save({"state_dict": _Hostile(mark)}, path)
    with pytest.raises(UserError, match="cannot be read as weights"):
        clip_model("tiny", str(path))
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*TorchScript archive")
def test_a_program_in_the_place_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(UserError, match="cannot be read as weights"):
        clip_model("tiny", str(path))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_file_that_was_cut_off_is_refused(
    tmp_path: Path, state: dict[str, Tensor], name: str
) -> None:
    path = Path(written(tmp_path / name, state))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=f"{name} cannot be read as weights"):
        clip_model("tiny", str(path))


def test_weights_that_are_nowhere_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no weights file .*gone\.pt; check the path"):
        clip_model("tiny", str(tmp_path / "gone.pt"))
    with pytest.raises(UserError, match=r'neither a file, nor random.*did you mean "openai"'):
        clip_model("ViT-B-32-quickgelu", "opnai")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and no way out; gives the folder of the hub's cache."""

    def refused(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "hub"


def test_a_tag_that_is_not_in_the_cache_is_not_fetched(offline: Path) -> None:
    with pytest.raises(
        MissingWeights,
        match=r"not fetched unasked; give a file with --set weights=FILE, or .*create_model",
    ):
        image_encoder("ViT-B-32-quickgelu", "openai")


def test_weights_are_found_where_open_clip_keeps_them(offline: Path, tmp_path: Path) -> None:
    listed = {"hf_hub": "birds/clip/", "url": "https://example.org/birds-clip.pt"}
    assert cached_file(listed) is None
    old = tmp_path / ".cache" / "clip" / "birds-clip.pt"
    old.parent.mkdir(parents=True)
    old.touch()
    assert cached_file(listed) == old
    snapshot = offline / "models--birds--clip" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (offline / "models--birds--clip" / "refs").mkdir()
    (offline / "models--birds--clip" / "refs" / "main").write_text("abc")
    (snapshot / "open_clip_model.safetensors").touch()
    assert cached_file(listed) == snapshot / "open_clip_model.safetensors"


@pytest.mark.parametrize("name", ["hf-hub:birds/clip", "local-dir:/tmp", "ViT-B-33"])
def test_an_architecture_is_one_of_the_list(offline: Path, name: str) -> None:
    with pytest.raises(UnknownName, match="no open_clip architecture"):
        image_encoder(name, "random")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ViT-B-16-SigLIP", "lies on a hub"),
        ("roberta-ViT-B-32", "lies on a hub"),
        ("coca_ViT-B-32", "writes captions"),
    ],
)
def test_encoders_that_read_texts_otherwise_are_refused(
    offline: Path, name: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        image_encoder(name, "random")


def test_without_open_clip_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r"install it with: pip install 'zslkit\[clip\]'"):
        image_encoder("tiny", "random")


def test_the_encoder_gives_what_open_clip_gives() -> None:
    encoder, (model, _) = image_encoder("tiny", "random"), clip_model("tiny", "random")
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            encoder.build().eval()(images)[:, :, 0, 0], model.encode_image(images)
        )
    assert encoder.map_shape(32, 32) == (24, 1, 1)
    assert encoder.label == "random"


def test_size_and_normalisation_are_clips_own() -> None:
    transform = image_encoder("tiny", "random").transform
    assert (transform.size, transform.interpolation) == ((32, 32), "bicubic")
    assert transform.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert transform.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))
    model = type("Model", (), {"visual": type("Visual", (), {"image_size": (256, 256)})})
    # MobileCLIP is listed with pixels from 0 to 1, also for weights from a file
    assert subject._transform(model, "MobileCLIP-S1", "some.pt").mean == (0.0, 0.0, 0.0)


def test_random_weights_are_the_same_everywhere_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = image_encoder("tiny", "random")
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert image_encoder("tiny", "random").digest == first.digest


def test_other_texts_are_another_source(tmp_path: Path, state: dict[str, Tensor]) -> None:
    one = image_encoder("tiny", written(tmp_path / "a.safetensors", state))
    other = image_encoder(
        "tiny",
        written(
            tmp_path / "b.safetensors", state | {"text_projection": state["text_projection"] + 1}
        ),
    )
    assert all(torch.equal(v, other.state[k]) for k, v in one.state.items())
    assert one.digest != other.digest


def test_a_text_does_not_hang_on_the_texts_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = clip_model("tiny", "random")
    texts = ["an emu", "a long sentence about a blue jay", "x"]
    together = embed_texts(model, "tiny", texts, CPU)
    monkeypatch.setattr(subject, "_TEXTS", 2)
    torch.testing.assert_close(embed_texts(model, "tiny", texts, CPU), together)
    torch.testing.assert_close(embed_texts(model, "tiny", texts[1:2], CPU), together[1:2])


def test_a_text_that_would_be_cut_off_is_refused() -> None:
    model, _ = clip_model("tiny", "random")
    embed_texts(model, "tiny", ["a " * 75], CPU)
    with pytest.raises(UserError, match="a prompt has 78 tokens and tiny reads 77"):
        embed_texts(model, "tiny", ["a " * 76], CPU)
