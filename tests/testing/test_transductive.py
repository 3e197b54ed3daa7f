"""Unlabelled test images are for models that say so, come without order, and the checks hold such
models to their word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transductive_toy import Idle, Moving, Sly

from zslkit.errors import UserError
from zslkit.model import Model
from zslkit.testing import check_model
from zslkit.testing.tiny import tiny_dataset, tiny_inputs
from zslkit.training.resident import Resident
from zslkit.training.view import View

DATA = tiny_dataset()
SOURCE = tiny_inputs(DATA, "pooled").source


def test_a_transductive_model_keeps_the_contract() -> None:
    told = {r.check: r.message for r in check_model(Moving)}
    assert (
        told["never_sees_test_images"]
        == "it may see the test images, and their labels change nothing"
    )


def test_one_that_does_not_say_so_is_refused_and_one_that_makes_no_use_of_them_is_told() -> None:
    bad = [r for r in check_model(Sly, only=["declared_inputs"], raise_=False) if r.failed]
    assert (
        "Sly asks for the unlabelled test images and declares itself class-inductive"
        in bad[0].message
    )
    (result,) = check_model(Idle, only=["declared_protocol"])
    assert "could be declared class-inductive" in result.message


@pytest.mark.parametrize("protocol", ["inductive", "class-inductive"])
def test_others_ask_in_vain(protocol: str) -> None:
    kind = type("Mine", (Model,), {"protocol": protocol})
    with pytest.raises(UserError, match=f"Mine asks for .* declares itself {protocol}"):
        View(SOURCE, DATA, kind).unlabelled()
    with pytest.raises(UserError, match="transductive"):
        View(SOURCE, DATA).unlabelled()


def test_they_are_the_images_of_both_test_sets_each_once_and_mixed() -> None:
    both = np.sort(np.concatenate([DATA.split.test_seen, DATA.split.test_unseen]))
    unlabelled = View(SOURCE, DATA, Moving).unlabelled()
    assert len(unlabelled) == len(both)
    given, wanted = unlabelled.everything(), SOURCE.batch(both)
    assert torch.equal(given, unlabelled.batch(np.arange(len(both))))
    assert torch.equal(given.sort(dim=0).values, wanted.sort(dim=0).values)
    place = [int((wanted == row).all(dim=1).nonzero()) for row in given]
    assert sorted(place) == list(range(len(both))) != place
    labels = DATA.labels[both][place]
    assert (np.diff(labels) == 0).mean() < 0.3  # on the disk the images of a class stand together
    assert not {"labels", "stored"} & set(dir(unlabelled))


def test_on_a_fold_they_are_the_images_that_the_fold_holds_out() -> None:
    fold = DATA.fold(0)
    given = View(SOURCE, fold, Moving).unlabelled().everything()
    held_out = np.concatenate([fold.split.test_seen, fold.split.test_unseen])
    assert torch.equal(given.sort(dim=0).values, SOURCE.batch(held_out).sort(dim=0).values)
    assert set(held_out.tolist()) <= set(DATA.split.trainval.tolist())


def test_a_view_on_an_accelerator_hands_them_on() -> None:
    view = View(SOURCE, DATA, Moving)
    moved = Resident(view, view.stored(np.arange(1)), torch.device("cpu"))  # type: ignore[arg-type]
    assert torch.equal(moved.unlabelled().everything(), view.unlabelled().everything())
