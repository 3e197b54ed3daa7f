"""`zslkit data verify`, `zslkit data info` and `zslkit doctor`, end to end."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zslkit.cli import machine
from zslkit.cli.app import main
from zslkit.cli.data import places
from zslkit.cli.data.places import look
from zslkit.cli.output import size_words
from zslkit.config import FeatureConfig
from zslkit.features.extract import store_bytes

Captured = pytest.CaptureFixture[str]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Two seen birds with five photos each and an unseen one with two."""
    for k, (bird, count) in enumerate({"auk": 5, "crow": 5, "wren": 2}.items()):
        (tmp_path / "images" / bird).mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((32, 32), 90 + k + i).convert("RGB").save(
                tmp_path / "images" / bird / f"{i}.png"
            )
    (tmp_path / "classes.csv").write_text("class,small,black\nauk,0,1\ncrow,0.2,1\nwren,1,0\n")
    file = tmp_path / "birds.yaml"
    file.write_text(
        "name: birds\nimages: images\nattributes: classes.csv\nunseen: [wren]\nlicence: "
        "CC0\ncitation: Me 2026\n"
    )
    return file


@pytest.mark.slow
def test_verify_ends_with_1_on_a_fault_and_tells_it_on_standard_output(
    zslkit: Command, card: Path
) -> None:
    (card.parent / "images" / "auk" / "3.png").write_bytes(b"")
    done = zslkit("data", "verify", str(card))
    assert done.returncode == 1
    assert (
        "1 of 12 do not open" in done.stdout and "3.png cannot be read (it is empty)" in done.stdout
    )
    assert "open every image: 12/12" in done.stderr and "1 fault" in done.stderr


def test_verify_of_a_card_as_json(card: Path, capsys: Captured) -> None:
    assert main(["data", "verify", str(card), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    verdicts = {check["name"]: check["verdict"] for check in told["checks"]}
    assert (
        told["faults"] == 0
        and verdicts["images open"] == verdicts["overlap"] == "ok"
        and verdicts["counts"] == "skipped"
    )


def test_the_table_is_cut_at_the_limit_and_json_is_not(card: Path, capsys: Captured) -> None:
    for i in range(5):
        (card.parent / "images" / "auk" / f"{i}.png").write_bytes(b"no")
    assert main(["data", "verify", str(card), "--limit", "2"]) == 1
    assert "and 3 more" in capsys.readouterr().out
    assert main(["data", "verify", str(card), "--limit", "2", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert len(next(c for c in checks if c["name"] == "images open")["items"]) == 5


def test_skipped_images_are_said_to_be(card: Path, capsys: Captured) -> None:
    (card.parent / "images" / "auk" / "3.png").write_bytes(b"")
    assert main(["data", "verify", str(card), "--skip-images"]) == 0
    assert "images were not to be opened" in capsys.readouterr().out


def test_names_that_nothing_answers_to(capsys: Captured) -> None:
    for command in ("verify", "info"):
        assert main(["data", command, "cubb"]) == 2
        assert 'did you mean "cub"' in capsys.readouterr().err


def test_real_photos_of_birds(shared: Path, capsys: Captured) -> None:
    assert (
        main(["data", "verify", "cub2010", "--data-root", str(shared / "data"), "--skip-images"])
        == 0
    )
    out = capsys.readouterr().out
    assert (
        "6033 images, 312 attributes, 150 seen, 50 unseen, 3616 trainval, 897 test_seen, 1520 "
        "test_unseen" in out
    )
    assert (
        "none of 50 unseen classes has a class of that name in ImageNet-1k; beside them 18 of 150 "
        "seen classes" in out
    )
    assert "fingerprint 2199bd666e2e7084: CUB-200-2010" in out


@pytest.mark.parametrize(
    ("name", "inside"),
    [("sun", 2580), ("awa2", 5882), ("awa1", 4958), ("flo", 1403), ("cub", 0), ("apy", 0)],
)
def test_real_splits_are_sound_and_their_hazard_is_told(
    shared: Path, capsys: Captured, name: str, inside: int
) -> None:
    assert main(["data", "verify", name, "--data-root", str(shared / "data"), "--json"]) == 0
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert (
        checks["counts"]["verdict"]
        == checks["overlap"]["verdict"]
        == checks["split version"]["verdict"]
        == "ok"
    )
    hazard = checks["train_loc and val_loc"]
    assert (hazard["verdict"], f"hold {inside} of {inside} images" in hazard["text"]) == (
        ("note", True) if inside else ("ok", False)
    )


def test_info_needs_no_data(tmp_path: Path, capsys: Captured) -> None:
    assert main(["data", "info", "cub", "--data-root", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        told["counts"]["images"] == 11788
        and len(told["attributes"]) == 312
        and len(told["groups"]) == 28
    )
    assert (
        told["published as"] == "cub"
        and told["defaults"]["size"] == 448
        and "non-commercial" in told["licence"]
    )
    places = {p["what"]: p for p in told["places"]}
    assert not any(p["there"] for p in places.values())
    assert places["features"]["path"] == str(tmp_path / "xlsa17/data/CUB/res101.mat")
    assert "att_splits.mat is missing" in told["loads"]


def test_info_tells_what_is_on_disk_and_in_the_cache(
    card: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(card.parent / "cache"))
    store = card.parent / "cache" / "features" / "birds-0123456789abcdef"
    store.mkdir(parents=True)
    (store / "maps.npy").write_bytes(b"x" * 77)
    assert main(["data", "info", str(card), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {
        "images": 12,
        "attributes": 2,
        "seen": 2,
        "unseen": 1,
        "trainval": 8,
        "test_seen": 2,
        "test_unseen": 2,
    }
    assert (told["licence"], told["citation"], told["semantics"], told["loads"]) == (
        "CC0",
        "Me 2026",
        "attributes",
        "yes",
    )
    assert {p["what"]: p["files"] for p in told["places"]} == {"images": 12, "attributes": 1}
    assert [item["bytes"] for item in told["cache"]] == [77]
    (card.parent / "classes.csv").unlink()
    assert main(["data", "info", str(card)]) == 0
    out = capsys.readouterr().out
    assert "missing" in out and "there is no file" in out


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_info_of_a_card_that_does_not_load_fails(
    card: Path, capsys: Captured, json_too: list[str]
) -> None:
    card.write_text(card.read_text().replace("[wren]", "[wern]"))
    assert main(["data", "info", str(card), *json_too]) == 2
    out, err = capsys.readouterr()
    assert "loads" in out and "wern" in err and "birds.yaml" in err


def test_info_of_a_card_tells_what_does_not_count_and_refuses_the_root(
    card: Path, capsys: Captured
) -> None:
    folder = card.parent / "images" / "auk"
    (folder / "notes.txt").touch()
    (folder / os.fsdecode(b"caf\xe9.doc")).touch()
    assert main(["data", "info", str(card)]) == 0
    assert "2 files do not count: 1 .doc, 1 .txt" in capsys.readouterr().out
    text = card.read_text()
    card.write_text(re.sub("images: .*", "images: /", text))
    assert main(["data", "info", str(card)]) == 2
    assert "root of the file system" in capsys.readouterr().err


def test_info_of_imported_features(tmp_path: Path, capsys: Captured) -> None:
    for name, numbers in (
        ("labels", [0, 0, 0, 1]),
        ("trainval", [0]),
        ("test_seen", [1, 2]),
        ("test_unseen", [3]),
    ):
        np.save(tmp_path / f"{name}.npy", np.array(numbers))
    np.save(tmp_path / "pooled.npy", np.ones((4, 3), np.float32))
    (tmp_path / "attributes.csv").write_text("class,x,y\nant,1,0\nbee,0,1\n")
    source = "{file: f.h5, format: HDF5, digest: 'sha256:" + "0" * 64 + "'}"
    (tmp_path / "card.yaml").write_text(
        f"kind: features\nname: given\npooled: pooled.npy\nsource: {source}\n"
    )
    assert main(["data", "info", str(tmp_path / "card.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["loads"], told["counts"]["images"], told["source"].split()[0]) == (
        "yes",
        4,
        "f.h5",
    )
    assert {p["what"]: p["there"] for p in told["places"]} == {
        "pooled features": True, "labels": True, "attributes": True, "split, trainval": True,
        "split, test_seen": True,
        "split, test_unseen": True,
    }  # fmt: skip
    assert main(["data", "info", str(tmp_path / "card.yaml")]) == 0


def test_a_folder_without_an_end_is_measured_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST", 3)
    for i in range(5):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / "x").write_text("12")
    (place,) = look({"images": (tmp_path,)})
    assert place.more and place.files == 4


def test_the_first_place_that_exists_is_told(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("12345")
    (there, lost) = look({"names": (tmp_path / "a", tmp_path / "b"), "words": (tmp_path / "c",)})
    assert (there.path, there.size, there.there) == (tmp_path / "b", 5, True)
    assert (lost.path, lost.there) == (tmp_path / "c", False)


@pytest.mark.slow
def test_the_doctor_finds_data_and_faults_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "data" / "xlsa17" / "data" / "SUN"
    home.mkdir(parents=True)
    (home / "att_splits.mat").write_bytes(b"")
    assert main(["doctor", "--quick", "--json", "--data-root", str(tmp_path / "data")]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert {
        "Python",
        "system",
        "memory",
        "torch",
        "device cpu",
        "timm",
        "models, datasets",
        "cache",
    } <= set(found)
    assert (
        found["data: sun"]["text"]
        == "missing: features, photos, attribute names, word vectors; found: split"
    )
    assert found["data: digits"]["verdict"] == "ok"
    assert found["disk: sun"]["text"].startswith(
        "12 GB for maps of resnet101.tv_in1k at 448x448 px in float16"
    )
    assert "disk: awa1" not in found  # it has features only
    assert not (tmp_path / "cache").exists()  # looking changes nothing


def test_the_doctor_fails_where_something_must_work_and_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(machine, "_installed", lambda name: name != "requests")
    assert main(["doctor", "--json"]) == 1
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert (
        found["packages"]["text"] == "missing: requests"
        and found["packages"]["advice"] == "pip install requests"
    )


def test_a_device_that_does_not_compute_is_told() -> None:
    finding = machine._computes("cuda:99")
    assert finding.verdict == "note" and finding.text.startswith("does not compute: ")


def test_a_cache_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert machine.room(tmp_path / "deep" / "er")[1] is True
    assert machine.room(tmp_path / "file" / "cache")[1] is False


def test_a_store_needs_the_bytes_of_its_maps_and_pooled_features() -> None:
    # resnet18 at 64 px: maps 512 x 2 x 2 in float16 and 512 pooled values in float32
    assert store_bytes(10, FeatureConfig(backbone="resnet18", size=64), 64, 64) == 10 * (
        512 * 4 * 2 + 512 * 4
    )


def test_sizes_in_words() -> None:
    said = [size_words(n) for n in (0, 812, 3_440, 49_600, 999_499, 999_600, 13e9, 2.5e12)]
    assert said == ["0 B", "812 B", "3.4 kB", "50 kB", "999 kB", "1.0 MB", "13 GB", "2.5 TB"]
