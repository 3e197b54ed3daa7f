"""Data and features of other people: what may not be read is named as such, and a cache that may
only be read is used."""

from __future__ import annotations

import sys

import h5py
import pytest
from made_stores import photos, store_of
from spoilt import D, N, arrays
from unprivileged import apart, open_folder

from zslkit.acquire.importing import import_features
from zslkit.datasets.catalog import load_dataset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
MAY_NOT = "may not be read by this user; ask its owner"


def test_a_whole_cache_that_may_only_be_read_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock, and without the notes that save time; a store that may not be read is
    named."""
    with open_folder() as folder:
        monkeypatch.setenv("ZSLKIT_CACHE", str(folder / "cache"))
        images = photos(folder / "photos", 4)
        store = store_of(images).folder
        for left in [*store.parent.glob("*.lock"), *(folder / "cache" / "digests").iterdir()]:
            left.unlink()
        assert apart(lambda: str(len(store_of(images)))) == "4"
        (store / "maps.npy").chmod(0)
        assert f"{store / 'maps.npy'} {MAY_NOT}" in apart(lambda: str(len(store_of(images))))


@pytest.mark.parametrize(
    "file", ["card.yaml", "labels.npy", "attributes.csv", "maps/manifest.json"]
)
def test_a_dataset_says_which_of_its_files_may_not_be_read(file: str) -> None:
    with open_folder() as folder:
        with h5py.File(folder / "x.h5", "w") as made:
            for name, values in arrays(N, D, 2, 2).items():
                made[name] = values
        home = import_features(folder / "x.h5", folder / "out").card.parent
        (home / file).chmod(0)
        assert f"{home / file} {MAY_NOT}" in apart(
            lambda: load_dataset(str(home / "card.yaml")).name
        )
