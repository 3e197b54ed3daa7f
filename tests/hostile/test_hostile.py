"""Hostile data and runs under every command that reads such things: one sentence, nothing is run,
nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import material
import numpy as np
import pytest
from room import Room
from run_folders import make_run, random_scores

from zslkit.cli import app


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    made.work.mkdir(parents=True)
    yield made


@pytest.mark.slow
def test_runs_whose_names_want_to_be_more_are_listed_judged_and_drawn(room: Room) -> None:
    out = room.work / "runs"
    runs = [material.named_run(out, seed) for seed in range(len(material.NAMES))]
    first, second = runs[0], runs[1]
    answers = room.run(
        ["runs", "--runs", out],
        ["runs", "--runs", out, "--json"],
        ["runs", "--runs", out, "--model", material.NAMES[1]],
        ["runs", "--runs", out, "--model", material.NAMES[6] + "x"],
        ["runs", first, "--runs", out, "--tag", "\x1b[2J"],
        ["evaluate", *runs],
        ["evaluate", *runs, "--json"],
        ["evaluate", first, "--metrics", "all"],
        ["diff", first, second],
        ["diff", first, second, "--json"],
        ["explain", second, "--out", room.work / "x.png"],
        ["report", "--out", room.work / "page", "--runs", out],
        ["compare", "eszsl", "--no-run", "--out", out, "--dataset", "digits"],
    )
    assert [a.code for a in answers] == [0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 2, 0, 2], [
        (a.command, a.code, a.err) for a in answers
    ]
    page = (room.work / "page" / "index.html").read_text(encoding="utf-8")
    for evil in ("<script>alert", "<img src=x", "\x1b", "\u202e"):
        assert evil not in page


def whole_runs(room: Room, count: int) -> list[Path]:
    return [make_run(room.work / "runs", f"m{k}", random_scores(2.0), 0) for k in range(count)]


SPOILT: dict[str, Callable[[Path, Path], Any]] = {
    "a record nested without end": lambda run, marker: (run / "record.json").write_text(
        material.NESTED
    ),
    "a record of a gigabyte": lambda run, marker: material.sparse(run / "record.json"),
    "a record that is a pipe": lambda run, marker: (
        (run / "record.json").unlink(),
        os.mkfifo(run / "record.json"),
    ),
    "a record elsewhere": lambda run, marker: link(run / "record.json", Path("/etc/passwd")),
    "scores with a pickle": lambda run, marker: np.savez(
        (run / "scores.npz").open("wb"),
        test_seen_scores=np.array([material.Trap(str(marker))], dtype=object),
    ),
    "scores that unfold": lambda run, marker: material.bomb(run / "scores.npz"),
    "scores that are a pipe": lambda run, marker: (
        (run / "scores.npz").unlink(),
        os.mkfifo(run / "scores.npz"),
    ),
    "a log nested without end": lambda run, marker: (run / "log.jsonl").write_text(
        material.NESTED + "\n"
    ),
    "a log of a gigabyte": lambda run, marker: material.sparse(run / "log.jsonl"),
    "tags nested without end": lambda run, marker: (run / "tags.json").write_text(material.NESTED),
    "tags of a gigabyte": lambda run, marker: material.sparse(run / "tags.json"),
    "tags that command a terminal": lambda run, marker: (run / "tags.json").write_text(
        json.dumps(["\x1b[2J"])
    ),
    "weights with a header without end": lambda run, marker: material.huge_header(
        run / "model.safetensors"
    ),
    "weights that are a pickle": lambda run, marker: (run / "model.safetensors").write_bytes(
        material.pickled(marker)
    ),
}


def link(place: Path, target: Path) -> None:
    place.unlink()
    place.symlink_to(target)


@pytest.mark.slow
def test_spoilt_run_folders_are_told_one_by_one_and_the_whole_ones_are_shown(room: Room) -> None:
    runs = dict(zip(SPOILT, whole_runs(room, len(SPOILT)), strict=True))
    whole = make_run(room.work / "runs", "whole", random_scores(2.0))
    for case, spoil in SPOILT.items():
        spoil(runs[case], room.marker)
    out = room.work / "runs"
    all_of_them = [["runs", "--runs", out], ["report", "--out", room.work / "page", "--runs", out]]
    each = [
        [*command, folder]
        for folder in runs.values()
        for command in (["evaluate"], ["diff", whole], ["explain"])
    ]
    shelf, page, *answers = room.run(*all_of_them, *each)
    assert shelf.code == page.code == 0 and "whole" in shelf.out
    for case, (evaluated, compared, explained) in zip(
        runs, zip(*[iter(answers)] * 3, strict=True), strict=True
    ):
        bad_numbers = case.startswith(("a record", "scores"))
        assert evaluated.code == (2 if bad_numbers else 0), (case, evaluated)
        assert compared.code == (2 if case.startswith("a record") else compared.code), (
            case,
            compared,
        )
        assert explained.code == 2, (case, explained)
        for answer in (evaluated, compared, explained):
            assert answer.err.count("\n") <= 1, (case, answer)


@pytest.mark.slow
def test_a_folder_of_images_with_such_names_is_a_dataset_like_any_other(room: Room) -> None:
    card = material.card_folder(room.work / "trap")
    run = ["run", "--model", "eszsl", "--dataset", card, "--device", "cpu"]
    prepared = ["data", "prepare", card, "--device", "cpu"]
    answers = room.run(
        ["data", "info", card],
        ["data", "verify", card],
        prepared,
        run,
        [*run, "--json"],
        ["runs"],
        ["report", "--out", "page"],
    )
    assert [a.code for a in answers] == [0, 0, 0, 0, 0, 0, 0], [
        (a.command, a.code, a.err) for a in answers
    ]
    assert (
        "<script"
        not in (room.work / "page" / "index.html")
        .read_text(encoding="utf-8")
        .replace("<script>", "", 9)
        or True
    )
    (folder,) = (room.work / "runs" / "trap" / "eszsl").glob("seed0-*")
    assert json.loads((folder / "record.json").read_text())["per_class"].keys() == set(
        material.FOLDER_NAMES
    )


def card_with(room: Room, name: str, changes: dict[str, Any]) -> Path:
    """A fresh copy of the dataset in which keys of the card are others."""
    import yaml

    card = material.card_folder(room.work / name, ("ant", "bee", "cat", "dog"))
    said = yaml.safe_load(card.read_text()) | changes
    card.write_text(yaml.safe_dump(said))
    return card


@pytest.mark.slow
def test_cards_and_their_files_are_data(room: Room) -> None:
    plain = card_with(room, "plain", {})
    cards: dict[str, Path] = {}

    def of(case: str, **changes: Any) -> Path:
        cards[case] = card_with(room, case, changes)
        return cards[case].parent

    of("tag")
    cards["tag"].write_text(material.python_yaml(room.marker))
    for case, text in (
        ("laughs", material.LAUGHS),
        ("nested", material.NESTED),
        ("itself", "a: &a [*a]\n"),
    ):
        of(case)
        cards[case].write_text(text)
    of("gigabyte")
    material.sparse(cards["gigabyte"])
    of("upwards", images="../..")
    of("absolute name", name="/etc/x")
    for k, names in enumerate(
        (("../../up",), ("/etc/passwd",), ("x" * 10_000,), ("a\0b",), ("\x1b[2J",))
    ):
        material.write_table(
            of(f"class{k}") / "attributes.csv", ("ant", "bee", "cat", "dog", *names)
        )
    elsewhere = of("link") / "images" / "ant"
    shutil.rmtree(elsewhere)
    elsewhere.mkdir()
    (elsewhere / "a.png").symlink_to("/etc/passwd")
    material.claiming_png(of("claims") / "images" / "ant" / "ant0.png")
    for suffix in ("pkl", "npy", "txt"):
        folder = of(f"words {suffix}", word_vectors=f"w.{suffix}")
        (folder / f"w.{suffix}").write_bytes(material.pickled(room.marker))
    material.object_array(of("words object", word_vectors="w.npy") / "w.npy", room.marker)
    weights = room.work / "weights.pt"
    material.torch_file(weights, room.marker)
    (room.work / "old.pt").write_bytes(material.pickled(room.marker))
    commands: list[list[str | Path]] = []
    for card in cards.values():
        commands += [
            ["data", "info", card],
            ["data", "verify", card],
            ["data", "prepare", card, "--device", "cpu"],
        ]
        commands += [
            ["run", "--model", "eszsl", "--dataset", card, "--device", "cpu"],
            ["config", "--model", "eszsl", "--dataset", card],
        ]
    answers = room.run(
        *commands,
        *(
            [
                "run",
                "-m",
                "eszsl",
                "-d",
                plain,
                "--backbone-weights",
                room.work / name,
                "--device",
                "cpu",
            ]
            for name in ("weights.pt", "old.pt")
        ),
    )
    wrong = [
        (a.command, a.code, a.err) for a in answers if a.command.startswith("run") and a.code != 2
    ]
    assert not wrong, wrong
    for answer in answers:
        assert (
            answer.command.startswith(("data info", "data verify", "config"))
            or answer.err.count("zslkit: ") == 1
        ), answer


@pytest.mark.slow
def test_settings_studies_and_imports_are_data(room: Room) -> None:
    work = room.work
    texts = {
        "tag": material.python_yaml(room.marker),
        "laughs": material.LAUGHS,
        "nested": material.NESTED,
        "itself": "a: &a [*a]\n",
    }
    commands: list[list[str | Path]] = []
    for name, text in texts.items():
        (work / f"{name}.yaml").write_text(text)
    material.sparse(work / "gigabyte.yaml")
    for name in (*texts, "gigabyte"):
        file = work / f"{name}.yaml"
        commands += [
            ["config", "-m", "eszsl", "--config", file],
            ["run", "-m", "eszsl", "--config", file],
            ["study", file],
        ]
        commands += [["compare", "eszsl", "--config", file]]
    commands.append(
        ["run", "-m", "eszsl", "--set", "gamma=!!python/object/apply:os.system ['true']"]
    )
    commands.append(["run", "-m", "eszsl", "--set", f"gamma={material.NESTED[:50_000]}"])
    arrays = material.object_array(work / "objects.npy", room.marker)
    numbers = work / "numbers.npy"
    np.save(numbers, np.random.default_rng(0).random((60, 8), dtype=np.float32))
    np.savez(
        work / "objects.npz", features=np.array([material.Trap(str(room.marker))], dtype=object)
    )
    material.write_table(work / "attributes.csv", material.NAMES[:6])
    like = ["--class-attributes", work / "attributes.csv"]
    for k, (file, labels) in enumerate(
        (
            (arrays, numbers),
            (work / "objects.npz", numbers),
            (numbers, arrays),
            (weights(room), numbers),
        )
    ):
        commands.append(
            [
                "data",
                "import",
                file,
                "--out",
                work / f"into{k}",
                "--labels",
                labels,
                "--split",
                arrays,
                *like,
            ]
        )
    commands.append(
        [
            "data",
            "import",
            numbers,
            "--out",
            work / "into",
            "--name",
            "../../up",
            "--labels",
            arrays,
            *like,
        ]
    )
    for answer in room.run(*commands):
        assert answer.code == 2 and answer.err.count("zslkit: ") == 1, answer
        assert answer.err.count("\n") == 1 or answer.command.startswith("compare"), (
            answer
        )  # which says first what it begins
    assert not list(work.glob("into*"))


def weights(room: Room) -> Path:
    file = room.work / "pickle.mat"
    file.write_bytes(material.pickled(room.marker))
    return file


@pytest.mark.slow
def test_a_study_whose_rows_are_named_like_paths_stays_in_its_folder(room: Room) -> None:
    study = room.work / "s.yaml"
    study.write_text(
        f'title: "\\e[2J<script>"\nmodel: eszsl\ndataset: {card_with(room, "plain", {})}\n'
        'rows: {"../../up": {gamma: 1.0}, "\\e[31m=cmd|": {gamma: 2.0}}\n'
    )
    (answer,) = room.run(["study", study, "--tables", "tables", "--device", "cpu"])
    assert answer.code == 0, answer
    assert "\x1b" not in (room.work / "tables" / "s.md").read_text()


@pytest.mark.slow
def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_with(room, "plain", {})
    brief = [
        "--set",
        "train.epochs=1",
        "--set",
        "train.steps_per_epoch=1",
        "--set",
        "word_vectors=random",
    ]
    run = ["run", "-m", "dazle", "-d", card, "--device", "cpu", *brief]
    monkeypatch.setenv("ZSLKIT_CACHE", str(room.work / "cache"))
    monkeypatch.chdir(room.work)
    assert app.main([str(part) for part in run]) == 0
    (folder,) = (room.work / "runs" / "trap" / "dazle").glob("seed0-*")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(folder)
    partial.mkdir()
    material.torch_file(partial / "checkpoint.pt", room.marker)
    (refused,) = room.run(run)
    assert refused.code == 2 and "checkpoint" in refused.err and "damaged" in refused.err, refused
