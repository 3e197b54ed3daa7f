"""Runs in one file for another person: what goes in, that it is read beside one's own, and what is
refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from calls import Go, caller
from run_folders import make_run, random_scores

from zslkit.acquire.cache import contents, remove
from zslkit.errors import UserError
from zslkit.runs.exchange import SHARED_MANIFEST, export_runs, runs_in
from zslkit.runs.folders import load_run
from zslkit.utils.files import cache_root

MODELS = {"alpha": 1.5, "beta": 0.5}


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """go(words...) in a folder with runs of two models in `mine`, with weights beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    for model, skill in MODELS.items():
        folder = make_run(Path("mine"), model, random_scores(skill, 3))
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "notes.txt").write_text("mine alone")
    return caller(capsys)


def of(model: str) -> Path:
    (folder,) = Path("mine").glob(f"*/{model}/seed*")
    return folder


def export(go: Go, *words: object, file: str = "ours.zip") -> Path:
    code, out, err = go("runs", "--runs", "mine", *words, "--export", file)
    assert code == 0, err
    assert f"written: {file}" in out
    return Path(file)


def test_an_export_holds_records_and_scores_and_no_weights(go: Go) -> None:
    with zipfile.ZipFile(export(go)) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read(SHARED_MANIFEST))
        assert manifest["format"] == 1
        record = of("alpha") / "record.json"
        place = record.relative_to("mine").as_posix()
        assert manifest["files"][place] == sha256(record.read_bytes()).hexdigest()
        assert archive.read(place) == record.read_bytes()
    assert {name.rpartition("/")[2] for name in names} == {
        "record.json", "config.yaml", "log.jsonl", "scores.npz", SHARED_MANIFEST
    }  # fmt: skip


def test_tags_names_and_models_choose_what_is_exported(go: Go) -> None:
    go("runs", of("beta"), "--tag", "paper", "--runs", "mine")
    for k, words in enumerate((("--tagged", "paper"), ("--model", "beta"), (of("beta"),))):
        (run,) = runs_in(export(go, *words, file=f"{k}.zip"))
        assert run.record.model.name == "beta"
        assert (run.folder / "tags.json").is_file()
    code, _, err = go("runs", "--runs", "mine", "--tagged", "papr", "--export", "x.zip")
    assert code == 2 and 'did you mean "paper"' in err and not Path("x.zip").exists()


def test_another_person_reads_it_beside_runs_of_their_own(go: Go) -> None:
    file = export(go, "--model", "alpha")
    shutil.rmtree(of("alpha"))
    code, out, err = go("compare", "mine", file, "--json")
    assert code == 0, err
    rows = [row for block in json.loads(out)["blocks"] for row in block["rows"]]
    assert sorted(row["label"] if "label" in row else row["model"] for row in rows) == [
        "alpha",
        "beta",
    ]
    code, out, err = go("report", "mine", file, "--out", "page", "--json")
    assert code == 0, err
    assert len(json.loads(out)["runs"]) == 2 and "alpha" in Path("page/index.html").read_text()


def test_the_cache_knows_what_came_in_a_file_and_removes_it(go: Go) -> None:
    runs_in(export(go))
    (item,) = contents(cache_root())
    assert item.kind == "shared runs"
    remove(cache_root(), item)
    assert contents(cache_root()) == []
    (run, _) = runs_in(Path("ours.zip"))
    (run.folder / "stranger.txt").touch()
    (item,) = contents(cache_root())
    assert item.kind == "foreign"


def test_nothing_is_written_over_or_half(go: Go) -> None:
    export(go)
    code, _, err = go("runs", "--runs", "mine", "--export", "ours.zip")
    assert code == 2 and "ours.zip is there already" in err
    code, _, err = go("runs", "--runs", "mine", "--export", "none/ours.zip")
    assert code == 1 and "cannot be written" in err
    (of("beta") / "scores.npz").write_bytes(b"PK\3\4")
    code, _, err = go("runs", "--runs", "mine", "--export", "cut.zip")
    assert code == 2 and "scores.npz" in err
    assert sorted(place.name for place in Path().glob("*.zip*")) == ["ours.zip"]
    for words in (("--tag", "x"), ("--remove", "--yes")):
        assert go("runs", of("alpha"), "--runs", "mine", "--export", "o.zip", *words)[0] == 2


def test_a_run_is_exported_by_its_record_wherever_its_folder_was_copied_to(go: Go) -> None:
    copy = Path("best") / of("alpha").name
    shutil.copytree(of("alpha"), copy)
    export_runs([load_run(copy)], Path("best.zip"))
    (run,) = runs_in(Path("best.zip"))
    assert run.folder.name == of("alpha").name and run.record.model.name == "alpha"
    with pytest.raises(UserError, match="are one run, made twice"):
        export_runs([load_run(copy), load_run(of("alpha"))], Path("two.zip"))
    assert not Path("two.zip").exists()


def rewritten(change: Callable[[dict[str, bytes]], object], truthful: bool = True) -> Path:
    """The export with its members changed; truthful: the manifest says the new digests."""
    with zipfile.ZipFile("ours.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if truthful and SHARED_MANIFEST in files:
        manifest = json.loads(files[SHARED_MANIFEST])
        manifest["files"] = {
            name: sha256(content).hexdigest()
            for name, content in files.items()
            if name != SHARED_MANIFEST
        }
        files[SHARED_MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile("bad.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Path("bad.zip")


def one(files: dict[str, bytes], name: str) -> str:
    return next(place for place in files if place.endswith(f"alpha/seed0-{of_id()}/{name}"))


def of_id() -> str:
    return of("alpha").name.partition("-")[2]


def better(files: dict[str, bytes]) -> None:
    place = one(files, "record.json")
    record = json.loads(files[place])
    record["metrics"]["H"] += 5
    files[place] = json.dumps(record).encode()


def version(files: dict[str, bytes]) -> None:
    files[SHARED_MANIFEST] = files[SHARED_MANIFEST].replace(b'"format": 1', b'"format": 2')


BAD: dict[str, tuple[Callable[[dict[str, bytes]], object], bool, str]] = {
    "a figure made better": (better, True, "its record says H"),
    "a figure made better, digest kept": (better, False, "record.json is not what"),
    "another version": (version, True, "is an export of format 2, and this zslkit reads format 1"),
    "a path that leads out": (
        lambda files: files.update({"../../x/record.json": b"{}"}),
        True,
        "leads out of its folder",
    ),
    "weights": (
        lambda files: files.update({"a/b/seed0-0123456789ab/model.safetensors": b"x"}),
        True,
        "is no export of runs: it holds 'a/b/seed0-0123456789ab/model.safetensors'",
    ),
    "a script": (lambda files: files.update({"run.sh": b"x"}), True, "it holds 'run.sh'"),
    "no manifest": (lambda files: files.pop(SHARED_MANIFEST), True, "has no zslkit-runs.json"),
    "a manifest that is none": (
        lambda files: files.update({SHARED_MANIFEST: b"{"}),
        False,
        "zslkit-runs.json is damaged",
    ),
    "no record": (lambda files: files.pop(one(files, "record.json")), True, "has no record.json"),
    "no scores": (lambda files: files.pop(one(files, "scores.npz")), True, "scores.npz"),
    "a record of nothing": (
        lambda files: files.update({one(files, "record.json"): b"[]"}),
        True,
        "is no run record",
    ),
    "a pickle": (
        lambda files: files.update({one(files, "scores.npz"): b"\x80\x04K\x01."}),
        True,
        "scores.npz",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_not_what_it_says_is_refused_and_leaves_nothing(go: Go, kind: str) -> None:
    export(go)
    change, truthful, words = BAD[kind]
    file = rewritten(change, truthful)
    for command in (("compare", file), ("report", file, "--out", "page")):
        code, out, err = go(*command)
        assert (code, out) == (2, "") and words in err, (command, err)
        assert err.count("\n") == 1 and "bad.zip" in err
    assert list((cache_root() / "shared").glob("*")) == [] and not Path("page").exists()


def test_a_file_that_is_cut_off_or_no_archive_is_refused(go: Go) -> None:
    whole = export(go).read_bytes()
    Path("cut.zip").write_bytes(whole[: len(whole) // 2])
    Path("text.zip").write_text("no archive")
    for name in ("cut.zip", "text.zip"):
        code, _, err = go("compare", name)
        assert code == 2 and name in err and err.count("\n") == 1, err
