"""Features kept whole on the accelerator: the same values, only where they fit. The CPU plays the
accelerator."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zslkit.features.store import SCHEMA, FeatureStore, stored_dtype, to_stored
from zslkit.training import loop as loop_module
from zslkit.training import resident as resident_module
from zslkit.training.resident import Resident, free_memory, resident
from zslkit.training.view import ArraySource, MapSource, PooledSource, View
from zslkit.utils.progress import Silent

CPU = torch.device("cpu")


def store(folder: Path, dtype: str) -> FeatureStore:
    maps = torch.randn(600, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    folder.mkdir()
    np.save(folder / "maps.npy", to_stored(maps, dtype).astype(stored_dtype(dtype)))
    np.save(folder / "pooled.npy", maps.mean(dim=(2, 3)).numpy())
    (folder / "manifest.json").write_text(
        json.dumps({"schema": SCHEMA, "key": "k", "shape": list(maps.shape), "dtype": dtype})
    )
    return FeatureStore(folder)


def view(source: Any) -> View:
    # every second image is a training image, so that an index of the view is none of the store
    dataset = SimpleNamespace(
        split=SimpleNamespace(trainval=np.arange(0, 600, 2)), labels=np.arange(600) % 7
    )
    return View(source, dataset)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_gives_the_same_batches_in_any_type(tmp_path: Path, dtype: str) -> None:
    plain = view(MapSource(store(tmp_path / "s", dtype)))
    kept = resident(plain, CPU, Silent(), free=10**9)
    assert isinstance(kept, Resident)
    index = np.array([299, 0, 17, 17, 258])
    assert kept.batch(index).dtype == torch.float32
    assert torch.equal(kept.batch(index), plain.batch(index))
    assert len(kept) == 300 and np.array_equal(kept.labels, plain.labels)
    assert all(
        torch.equal(a, b) for a, b in zip(kept.everything(), plain.everything(), strict=True)
    )
    assert kept._inputs.dtype == getattr(torch, dtype)


def test_stays_away_where_it_takes_more_than_half(tmp_path: Path) -> None:
    plain = view(MapSource(store(tmp_path / "s", "bfloat16")))
    size = 300 * 3 * 2 * 2 * 2
    assert resident(plain, CPU, Silent(), free=2 * size - 1) is plain
    assert isinstance(resident(plain, CPU, Silent(), free=2 * size), Resident)


def test_pooled_features_are_kept_and_images_are_not(tmp_path: Path) -> None:
    for source in (
        PooledSource(store(tmp_path / "s", "bfloat16")),
        ArraySource(np.ones((600, 4), np.float64)),
    ):
        plain = view(source)
        kept = resident(plain, CPU, Silent(), free=10**9)
        assert isinstance(kept, Resident) and torch.equal(
            kept.batch(np.arange(9)), plain.batch(np.arange(9))
        )
    images = view(SimpleNamespace(batch=lambda index: torch.zeros(len(index), 3, 8, 8)))
    assert resident(images, CPU, Silent(), free=10**9) is images


def test_a_view_of_another_make_is_left_alone() -> None:
    other = SimpleNamespace(labels=np.zeros(3), batch=None)
    assert resident(other, CPU, Silent(), free=10**9) is other  # type: ignore[arg-type]


def test_the_cpu_has_no_memory_of_its_own(tmp_path: Path) -> None:
    assert free_memory(CPU) == 0
    plain = view(MapSource(store(tmp_path / "s", "float32")))
    assert resident(plain, CPU, Silent()) is plain


def test_the_loop_asks_for_it_and_trains_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_loop import loop, tiny

    rng = np.random.default_rng(0)
    dataset = SimpleNamespace(
        split=SimpleNamespace(trainval=np.arange(60)), labels=np.repeat(np.arange(3), 20)
    )
    plain = View(ArraySource(rng.standard_normal((60, 4)).astype(np.float32)), dataset)  # type: ignore[arg-type]
    states, made = [], []
    for free in (0, 10**9):
        monkeypatch.setattr(resident_module, "free_memory", lambda device, free=free: free)
        asked = loop_module.resident
        monkeypatch.setattr(
            loop_module, "resident", lambda *a, asked=asked: made.append(asked(*a)) or made[-1]
        )
        model = tiny()
        loop([]).train(model, plain)
        monkeypatch.setattr(loop_module, "resident", asked)
        states.append(model.state_dict())
    assert made[0] is plain and isinstance(made[1], Resident)
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
