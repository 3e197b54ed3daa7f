"""A feature store gives back what was put in, as exactly as its type allows, or says what is wrong
with the folder."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zslkit.errors import DataError
from zslkit.features.store import SCHEMA, FeatureStore, stored_dtype, to_stored
from zslkit.utils.files import cache_root

DTYPES = ["float16", "bfloat16", "float32"]
MAPS = torch.arange(24, dtype=torch.float32).view(3, 2, 2, 2) / 8  # exact in every type
ORDER = np.array([2, 0])


def write(folder: Path, maps: Tensor, dtype: str, **manifest: Any) -> Path:
    """A finished store as extraction leaves it. manifest: what its manifest says instead."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "maps.npy", to_stored(maps, dtype))
    np.save(folder / "pooled.npy", maps.mean(dim=(2, 3)).numpy())
    facts = {
        "schema": SCHEMA,
        "key": "0123456789abcdef",
        "shape": tuple(maps.shape),
        "dtype": dtype,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
def test_features_come_back_as_float32_in_the_order_asked_for(tmp_path: Path, dtype: str) -> None:
    store = FeatureStore(write(tmp_path, MAPS, dtype))
    maps, pooled = store.maps(ORDER), store.pooled(ORDER)
    assert maps.dtype == pooled.dtype == torch.float32
    assert torch.equal(maps, MAPS[[2, 0]])
    assert torch.equal(pooled, MAPS[[2, 0]].mean(dim=(2, 3)))
    assert store.map_shape == (2, 2, 2)
    assert store.fingerprint == "0123456789abcdef"


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-60000, 60000, width=32), min_size=1, max_size=8))
def test_a_value_is_rounded_once_to_the_stored_type(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, values: list[float]
) -> None:
    maps = torch.tensor(values).view(-1, 1, 1, 1)
    store = FeatureStore(write(tmp_path_factory.mktemp("store"), maps, dtype))
    index = np.arange(len(values))
    assert torch.equal(store.maps(index), maps.to(getattr(torch, dtype)).float())
    assert torch.equal(store.pooled(index), maps[:, :, 0, 0]), "pooled features keep all their bits"


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4)])
def test_what_is_written_has_the_type_that_was_reserved(dtype: str, size: int) -> None:
    assert to_stored(MAPS, dtype).dtype == stored_dtype(dtype)
    assert stored_dtype(dtype).itemsize == size


def test_what_a_caller_does_to_a_batch_stays_out_of_the_store(tmp_path: Path) -> None:
    store = FeatureStore(write(tmp_path, MAPS, "float32"))
    store.maps(ORDER).zero_()
    store.pooled(ORDER).zero_()
    assert torch.equal(store.maps(ORDER), MAPS[[2, 0]])
    assert torch.equal(store.pooled(ORDER), MAPS[[2, 0]].mean(dim=(2, 3)))


@pytest.mark.parametrize("value", [65520.0, -1e30, float("inf"), float("nan")])
def test_float16_refuses_what_it_cannot_hold(value: float) -> None:
    with pytest.raises(
        DataError,
        match=r"not finite as float16; set features\.dtype to bfloat16 or float32.*weights",
    ):
        to_stored(torch.tensor([0.0, value]), "float16")


def test_the_largest_float16_is_kept_and_bfloat16_goes_far_beyond() -> None:
    assert to_stored(torch.tensor([65504.0]), "float16")[0] == 65504
    assert np.isfinite(to_stored(torch.tensor([1e30]), "float32")).all()
    stored = torch.from_numpy(to_stored(torch.tensor([1e30]), "bfloat16")).view(torch.bfloat16)
    assert stored.float().item() == pytest.approx(1e30, rel=1 / 256)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_broken_network_is_refused_in_every_type(dtype: str, value: float) -> None:
    with pytest.raises(DataError, match=f"not finite as {dtype}"):
        to_stored(torch.tensor([0.0, value]), dtype)


def cut(name: str) -> Callable[[Path], object]:
    """Half of the file is gone, as after a copy that broke off."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


DAMAGES: dict[str, Callable[[Path], object]] = {
    "manifest missing": lambda f: (f / "manifest.json").unlink(),
    "manifest empty": lambda f: (f / "manifest.json").write_text(""),
    "manifest cut": cut("manifest.json"),
    "manifest no text": lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "maps missing": lambda f: (f / "maps.npy").unlink(),
    "maps empty": lambda f: (f / "maps.npy").write_bytes(b""),
    "maps cut in the header": lambda f: (f / "maps.npy").write_bytes(
        (f / "maps.npy").read_bytes()[:20]
    ),
    "maps cut in the values": lambda f: (f / "maps.npy").write_bytes(
        (f / "maps.npy").read_bytes()[:-4]
    ),
    "maps no array": lambda f: (f / "maps.npy").write_bytes(b"\x89PNG\r\n\x1a\n something else"),
    "pooled missing": lambda f: (f / "pooled.npy").unlink(),
    "pooled cut": cut("pooled.npy"),
}


def refusal(folder: Path) -> str:
    """The error of opening the store, which names its folder."""
    with pytest.raises(DataError) as caught:
        FeatureStore(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_is_named_and_says_what_to_do(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damage(folder := write(tmp_path / "digits-0123", MAPS, "float16"))
    told = refusal(folder)
    assert "is damaged" in told and "remove that folder and run again" in told


OTHERS: dict[str, Callable[[Path], object]] = {
    "more images": lambda f: np.save(f / "maps.npy", np.zeros((4, 2, 2, 2), np.float16)),
    "other maps": lambda f: np.save(f / "maps.npy", np.zeros((3, 2, 4, 1), np.float16)),
    "fewer pooled": lambda f: np.save(f / "pooled.npy", np.zeros((2, 2), np.float32)),
    "other pooled": lambda f: np.save(f / "pooled.npy", np.zeros((3, 3), np.float32)),
    "schema": lambda f: write(f, MAPS, "float16", schema=SCHEMA + 1),
    "no schema": lambda f: (f / "manifest.json").write_text("{}"),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS.keys())
def test_a_store_that_holds_something_else_is_named_and_says_what_to_do(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    change(folder := write(tmp_path / "digits-0123", MAPS, "float16"))
    words = "does not hold what its manifest says; remove that folder and run again"
    assert words in refusal(folder)


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"schema": 1, "shape": 3}'])
def test_a_manifest_of_another_form_is_a_damaged_store(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path, MAPS, "float16")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="remove that folder and run again"):
        FeatureStore(folder)


def test_a_zip_in_the_place_of_an_array_is_a_damaged_store(tmp_path: Path) -> None:
    folder = write(tmp_path, MAPS, "float16")
    (folder / "maps.npy").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(DataError, match="remove that folder and run again"):
        FeatureStore(folder)


def test_a_store_of_another_type_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, MAPS, "float32")
    np.save(folder / "maps.npy", to_stored(MAPS, "bfloat16"))
    with pytest.raises(DataError, match="remove that folder and run again"):
        FeatureStore(folder)


class Runs:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["maps.npy", "pooled.npy"])
def test_opening_runs_nothing(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, MAPS, "float16")
    (folder / name).write_bytes(pickle.dumps(Runs(tmp_path / "trace")))
    with pytest.raises(DataError, match="damaged"):
        FeatureStore(folder)
    assert not (tmp_path / "trace").exists()


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZSLKIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / "home" / ".cache" / "zslkit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "zslkit"
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
