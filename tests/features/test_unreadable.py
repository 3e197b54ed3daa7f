"""Images that cannot be read: found all at once, left out of the split by name, and remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zslkit.config import FeatureConfig
from zslkit.dataset import Dataset, Split
from zslkit.errors import DataError
from zslkit.features import unreadable as subject
from zslkit.features.forward import passed
from zslkit.features.unreadable import look, readable
from zslkit.readers.images import FileImages
from zslkit.semantics import Semantics
from zslkit.utils.progress import Silent


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))


def made_up(folder: Path) -> Dataset:
    for i in range(8):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")
    split = Split(np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6, 7]))
    semantics = Semantics(np.eye(2, dtype=np.float32), ("x", "y"))
    return Dataset(
        "made-up",
        ("a", "b"),
        np.array([0] * 5 + [1] * 3),
        split,
        semantics,
        FileImages(folder, [f"{i}.png" for i in range(8)]),
    )


def test_what_cannot_be_read_is_in_no_part_and_all_else_keeps_its_number(tmp_path: Path) -> None:
    whole = made_up(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "6.png").unlink()
    left = readable(whole, Silent())
    assert {k: v.tolist() for k, v in left.split.parts().items()} == {
        "trainval": [0, 2],
        "test_seen": [3, 4],
        "test_unseen": [5, 7],
    }
    assert left.skipped == (1, 6) and left.images is not None and left.images.key(7) == "7.png"
    assert left.fingerprints()["split"] != whole.fingerprints()["split"]
    assert left.fingerprints()["semantics"] == whole.fingerprints()["semantics"]


def test_without_bad_images_it_is_the_same_dataset(tmp_path: Path) -> None:
    whole = made_up(tmp_path)
    assert readable(whole, Silent()) is whole


def test_images_are_decoded_once_for_it_as_long_as_they_do_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made_up(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    first = readable(whole, Silent())
    with monkeypatch.context() as patch:
        patch.setattr(subject, "unreadable", lambda *arguments: pytest.fail("decoded again"))
        assert readable(whole, Silent()).skipped == first.skipped == (1,)
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    assert readable(whole, Silent()).skipped == ()


def test_a_part_that_would_be_empty_is_refused(tmp_path: Path) -> None:
    whole = made_up(tmp_path)
    for i in (3, 4):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(
        DataError, match="test_seen is empty, after 2 images that cannot be read were left out"
    ):
        readable(whole, Silent())


def test_a_doubt_is_no_verdict(tmp_path: Path) -> None:
    """Bytes after the end of a JPEG, and formats whose end nothing marks, are fine."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"appended by a camera")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.bmp")
    images = FileImages(tmp_path, ["a.jpg", "b.bmp"])
    assert [images.looks_whole(i) for i in range(2)] == [False, False]
    look(images, Silent())


def test_many_are_counted_and_the_first_named(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(7)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        look(FileImages(tmp_path, names), Silent())
    assert str(caught.value).startswith(
        "7 of 7 images cannot be read (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, ...): the image "
    )


def test_settings_that_came_later_are_written_only_where_they_are_used() -> None:
    assert not {"skip_bad", "precision"} & FeatureConfig().model_dump(mode="json").keys()
    assert FeatureConfig(skip_bad=True).model_dump()["skip_bad"] is True
    assert FeatureConfig(precision="bfloat16").model_dump()["precision"] == "bfloat16"


def test_the_streams_leave_the_callers_threads_alone(tmp_path: Path) -> None:
    from zslkit.features.backbones import Transform

    whole = made_up(tmp_path)
    assert whole.images is not None
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        inside: list[int] = []
        batches = [np.array([i]) for i in range(8)]
        transform = Transform(None, (0.0,) * 3, (1.0,) * 3, "bilinear")

        def finish(maps: torch.Tensor) -> float:
            inside.append(torch.get_num_threads())
            return float(maps[0, 0, 0, 0] * 255)

        found = passed(
            whole.images,
            transform,
            torch.nn.Identity(),
            batches,
            torch.device("cpu"),
            "float32",
            finish,
        )
        assert [(int(i[0]), round(v)) for i, v in found] == [(i, i) for i in range(8)]
        assert set(inside) == {1} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
