"""An import takes the place of an earlier one whole or not at all, and of nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from own_files import hdf5, with_maps

from zslkit.acquire import importing
from zslkit.acquire.importing import Choices, import_features
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import CannotWrite, UserError
from zslkit.utils import files


def test_an_import_is_replaced_only_when_asked_and_other_folders_never(tmp_path: Path) -> None:
    file = hdf5(tmp_path / "x.h5", with_maps())
    import_features(file, tmp_path / "out")
    with pytest.raises(
        UserError, match=r"out holds an imported dataset already; --again replaces it"
    ):
        import_features(file, tmp_path / "out")
    import_features(file, tmp_path / "out", Choices(again=True, dtype="bfloat16"))
    assert (
        json.loads((tmp_path / "out" / "maps" / "manifest.json").read_text())["dtype"] == "bfloat16"
    )
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=r"mine is there already and holds no imported dataset"):
        import_features(file, tmp_path / "mine", Choices(again=True))


def test_a_broken_conversion_leaves_the_old_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hdf5(tmp_path / "x.h5", with_maps())
    before = import_features(file, tmp_path / "out").dataset

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for error in (full, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)):
        monkeypatch.setattr(importing, "_write_rest", error)
        with pytest.raises((CannotWrite, KeyboardInterrupt)):
            import_features(file, tmp_path / "out", Choices(again=True))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.h5"]
    assert load_dataset(str(tmp_path / "out" / "card.yaml")).fingerprints() == before.fingerprints()


def test_the_old_dataset_steps_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hdf5(tmp_path / "x.h5", with_maps())
    (tmp_path / "link").symlink_to(tmp_path / "out")
    import_features(file, tmp_path / "out")
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if str(source).endswith(".new"):
            raise OSError(13, "Permission denied")
        rename(source, target)

    with monkeypatch.context() as broken:
        broken.setattr(files, "_exchanged", lambda one, other: False)
        broken.setattr(files.os, "rename", fail)
        with pytest.raises(
            CannotWrite, match=r"Importing .*x\.h5 into .*out failed \(Permission denied\)"
        ):
            import_features(file, tmp_path / "out", Choices(again=True))
    assert load_dataset(str(tmp_path / "out" / "card.yaml")).maps is not None
    import_features(file, tmp_path / "link", Choices(again=True, name="out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "out", "x.h5"]


STRANGERS = ["notes.txt", "maps/mine.npy", "mine/att_splits.mat", "card_words.npy"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_another_import_refuses_a_folder_in_which_anything_else_lies(
    tmp_path: Path, stranger: str
) -> None:
    file, place = hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out" / stranger
    import_features(file, tmp_path / "out")
    place.parent.mkdir(exist_ok=True)
    place.write_text("mine")
    with pytest.raises(
        UserError,
        match=rf"holds {Path(stranger).parts[0]}.*, which no import wrote.*move it elsewhere",
    ):
        import_features(file, tmp_path / "out", Choices(again=True))
    assert (
        place.read_text() == "mine"
        and load_dataset(str(tmp_path / "out" / "card.yaml")).maps is not None
    )


def test_what_comes_into_the_folder_while_it_is_made_anew_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hdf5(tmp_path / "x.h5", with_maps())
    import_features(file, tmp_path / "out")
    rest = importing._write_rest

    def meanwhile(*arguments: Any) -> None:
        rest(*arguments)
        (tmp_path / "out" / "thesis.txt").write_text("mine")

    monkeypatch.setattr(importing, "_write_rest", meanwhile)
    with pytest.raises(UserError, match=r"holds thesis\.txt"):
        import_features(file, tmp_path / "out", Choices(again=True))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.h5"]


def test_a_dataset_that_stepped_aside_is_there_again_for_whoever_reads_it(tmp_path: Path) -> None:
    card = import_features(hdf5(tmp_path / "x.h5", with_maps()), tmp_path / "out").card
    (tmp_path / "out").rename(tmp_path / f".out.{files._host()}-{1 << 29}-0.old")
    assert load_dataset(str(card)).name == "out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.h5"]
