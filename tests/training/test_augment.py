"""Random crops and mirror images: where a photo is cut, and that seed, epoch, step and image alone
decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_loop import Rows, loop, tiny
from torch import Tensor

from zslkit.config import TrainConfig
from zslkit.features.augment import Cut, draw_cut
from zslkit.features.backbones import Transform
from zslkit.training import augment


def photo(height: int, width: int) -> Image.Image:
    """A photo whose red tells the row and whose green tells the column."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)
    return Image.fromarray(pixels)


def transform(size: tuple[int, int] | None) -> Transform:
    return Transform(size, (0.0,) * 3, (1.0,) * 3, "nearest")


@pytest.mark.parametrize(
    ("cut", "corner"),
    [
        (Cut(2.0), (4, 5)),  # 16x20 resized from 8x10; the centre crop of 8x10 begins at 4, 5
        (Cut(2.0, (0.0, 0.0)), (0, 0)),
        (Cut(2.0, (0.999, 0.999)), (8, 10)),  # the last place of 9 and of 11
        (Cut(2.0, (0.5, 0.1)), (4, 1)),
    ],
)
def test_a_photo_is_enlarged_and_cropped_at_its_place(cut: Cut, corner: tuple[int, int]) -> None:
    top, left = corner
    enlarged = np.asarray(photo(8, 10).resize((20, 16), Image.Resampling.NEAREST))
    for size in ((8, 10), None):
        found = transform(size).pixels(photo(8, 10), cut)
        np.testing.assert_array_equal(found, enlarged[top : top + 8, left : left + 10])


def test_a_crop_lies_on_the_resized_photo() -> None:
    # The short side of 30x40 becomes 12 instead of 6: 12x16, in which 6x6 has 7 x 11 places.
    found = transform((6, 6)).pixels(photo(30, 40), Cut(2.0, (0.99, 0.99)))
    resized = np.asarray(photo(30, 40).resize((16, 12), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(found, resized[6:12, 10:16])


def test_a_mirrored_photo_swaps_left_and_right_alone() -> None:
    plain = transform((4, 6)).pixels(photo(4, 6))
    mirrored = transform((4, 6)).pixels(photo(4, 6), Cut(mirrored=True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_draws_reach_every_place_and_mirror_half() -> None:
    cuts = [draw_cut(1.5, True, [0, n]) for n in range(2000)]
    assert {cut.corner((2, 3)) for cut in cuts} == {(y, x) for y in range(3) for x in range(4)}
    assert 0.45 < np.mean([cut.mirrored for cut in cuts]) < 0.55
    assert all(draw_cut(1.0, False, [0, n]) == Cut() for n in range(20))
    assert not any(draw_cut(1.5, False, [0, n]).mirrored for n in range(20))


class Photos(Rows):
    """Rows that remember how they were asked to be cut."""

    cuttable = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[list[int], list[Cut]]] = []

    def cut(self, index: np.ndarray, cuts: list[Cut]) -> Tensor:
        self.asked.append((index.tolist(), cuts))
        return self.batch(index)


def of_epoch(epoch: int, index: list[np.ndarray]) -> dict[tuple[int, int], Cut]:
    """The cut of each step and image."""
    photos = Photos()
    read = augment.reader(photos, TrainConfig(random_crop=1.2, flip=True), 3, epoch)
    for one in index:
        read(one)
    return {
        (step, i): cut
        for step, (ids, cuts) in enumerate(photos.asked)
        for i, cut in zip(ids, cuts, strict=True)
    }


def test_cuts_depend_on_step_and_image_and_not_on_the_share_of_a_process() -> None:
    whole = of_epoch(1, [np.arange(6), np.arange(6)])
    assert len(set(whole.values())) == 12
    first, second = of_epoch(1, [np.arange(3)] * 2), of_epoch(1, [np.arange(3, 6)] * 2)
    assert {**first, **second} == whole
    assert not set(of_epoch(2, [np.arange(6)] * 2).values()) & set(whole.values())


def test_the_loop_cuts_photos_only_if_asked() -> None:
    asked, plain = Photos(), Photos()
    loop([]).train(tiny(epochs=2, flip=True), asked)
    loop([]).train(tiny(epochs=2), plain)
    assert len(asked.asked) == 20 and plain.asked == []
    assert len({tuple(cuts) for _, cuts in asked.asked}) > 10


def test_what_cannot_be_cut_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []

    class Noting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def note(self, text: str) -> None:
            notes.append(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    training = loop([])
    training._reporter = Noting(training._reporter)  # type: ignore[assignment]
    training.train(tiny(epochs=1, random_crop=1.2), Rows())
    assert notes == [
        "train: these inputs are no photos, so train.random_crop and train.flip do nothing"
    ]


def test_a_tensor_of_cut_photos_is_normalised() -> None:
    from zslkit.features.forward import ImageInputs

    class One:
        def open(self, index: int) -> Image.Image:
            return photo(4, 6)

    inputs = ImageInputs(One(), transform((4, 6)))  # type: ignore[arg-type]
    mirrored = inputs.cut(np.zeros(1, dtype=int), [Cut(mirrored=True)])
    assert torch.equal(mirrored, inputs.batch(np.zeros(1, dtype=int)).flip(3))
