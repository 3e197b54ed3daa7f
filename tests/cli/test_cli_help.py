"""Help of every verb: sections, examples, explained values; one meaning for each option."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from zslkit.cli import app
from zslkit.cli.failure import State
from zslkit.cli.lazy import LazyGroup
from zslkit.cli.verb import Verb

Words = tuple[str, ...]


def walk(group: click.Command, words: Words = ()) -> Iterator[tuple[Words, Verb]]:
    """Every verb below a group, by its words."""
    assert isinstance(group, LazyGroup)
    ctx = click.Context(group, obj=State())
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, LazyGroup):
            yield from walk(command, (*words, name))
        else:
            assert isinstance(command, Verb)
            yield (*words, name), command


@pytest.fixture(scope="module")
def verbs() -> dict[Words, Verb]:
    return dict(walk(app.cli))


def test_each_command_stands_in_one_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    shown = capsys.readouterr().out
    titles = re.findall(r"^(\S.*):$", shown, re.M)
    assert titles == ["Options", *app.SECTIONS]
    assert len(app.SECTIONS) == 5
    for section in app.SECTIONS.values():
        for name, line in section.items():
            assert len(re.findall(rf"^  {name} ", shown, re.M)) == 1
            assert line.split()[0] in shown


def lines(example: str) -> list[list[str]]:
    """The calls of zslkit in an example, without what a shell does with their output."""
    calls = [shlex.split(part) for part in re.findall(r"zslkit [^>)\n]+", example)]
    return [words[1:] for words in calls]


def parsed(words: list[str], verbs: dict[Words, Verb]) -> Words:
    """The verb that the words call, whose options they fit: else click raises."""
    path = tuple(words[:2]) if tuple(words[:2]) in verbs else tuple(words[:1])
    verbs[path].make_context(" ".join(path), words[len(path) :], obj=State())
    return path


def test_the_help_of_every_verb_ends_with_an_example_whose_options_exist(
    verbs: dict[Words, Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    for path, command in verbs.items():
        assert path in [parsed(words, verbs) for words in lines(command.example)]
        assert app.main([*path, "--help"]) == 0
        end = capsys.readouterr().out.split("\n\n")[-1].splitlines()
        assert [line.strip() for line in end[1:]] == command.example.splitlines()
        assert end[0].strip() in ("Example:", "Examples:")
        assert not capsys.readouterr().err  # no former spelling
    for group in ("data", "new"):
        assert app.main([group, "--help"]) == 0
        assert "Example:\n    zslkit " in capsys.readouterr().out


@pytest.mark.parametrize(
    "path",
    [
        "models",
        "datasets",
        "trackers",
        "published",
        "config",
        "data info",
        "data words",
        "data clean",
        "data download",
        "new model",
        "new dataset",
    ],
)
def test_examples_that_train_nothing_work(
    path: str, verbs: dict[Words, Verb], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    for words in lines(verbs[tuple(path.split())].example):
        assert app.main(words) == 0


def test_every_value_of_a_choice_is_explained(verbs: dict[Words, Verb]) -> None:
    for path, command in verbs.items():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.type, click.Choice):
                for value in option.type.choices:
                    assert f"{value}: " in str(option.help), (path, option.name, value)
    help_of = {
        max(option.opts, key=len): str(option.help)
        for command in verbs.values()
        for option in command.params
        if isinstance(option, click.Option)
    }
    for name, values in {
        "--backbone-weights": "auto hub offline trainval random file",
        "--device": "auto cpu cuda mps",
        "--preset": "default",
        "--metrics": "T1 all top-K confusion",
        "--localise": "strongest cell",
    }.items():
        assert all(value in help_of[name] for value in values.split()), name


def test_an_option_takes_the_same_kind_of_value_in_every_verb(verbs: dict[Words, Verb]) -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for command in verbs.values():
        for option in command.params:
            if isinstance(option, click.Option):
                for name in option.opts:
                    kind = "flag" if option.is_flag else type(option.type).__name__
                    kinds[name].add(kind)
    mixed = {name for name, found in kinds.items() if len(found) > 1}
    assert not mixed, {name: kinds[name] for name in mixed}
    assert {"--html", "--to", "--output", "--sheet", "--top-k"}.isdisjoint(kinds)


def test_former_spellings_work_with_a_note_and_are_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbs: dict[Words, Verb]
) -> None:
    target = tmp_path / "mine"
    assert app.main(["new", "model", "mine", f"--to={target}", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["folder"] == str(target)
    assert told.err.startswith("zslkit: --to is called --out now; ")
    assert told.err.count("\n") == 1
    for path, command in verbs.items():
        listed = {name for option in command.params for name in option.opts}
        former = command.formerly(["--html"]) if callable(command.formerly) else command.formerly
        assert set(former.values()) <= listed, path
        assert path in (("report",), ("runs",)) or listed.isdisjoint(former), path


def options_of(verbs: dict[Words, Verb], line: str) -> dict[str, object]:
    words = shlex.split(line)
    path = tuple(words[:2]) if tuple(words[:2]) in verbs else tuple(words[:1])
    return verbs[path].make_context(path[-1], words[len(path) :], obj=State()).params


def test_former_spellings_mean_what_they_meant(
    verbs: dict[Words, Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    for old, new in (
        ("report --out here --html page", "report --runs here --out page"),
        ("report --html=page", "report --out=page"),
        ("runs --out here", "runs --runs here"),
        ("study s.yaml --out here --to there", "study s.yaml --out here --tables there"),
        ("diff a b --sheet c.png", "diff a b --out c.png"),
        ("predict a b --output c --attributes 2", "predict a b --out c --top-attributes 2"),
        ("explain a --top 2", "explain a --top-attributes 2"),
        ("data import a --to b --attributes c", "data import a --out b --class-attributes c"),
        ("data clean --remove a", "data clean --matching a"),
        (
            "data prepare digits --precision bfloat16",
            "data prepare digits --feature-precision bfloat16",
        ),
    ):
        assert options_of(verbs, new) == options_of(verbs, old)
        noted = capsys.readouterr().err
        assert noted.count("\n") == len(re.findall(r"--\w+", old)) - ("study" in old), noted
    # Behind -- stands an argument, whatever it looks like.
    assert options_of(verbs, "report --out page -- --html")["words"] == ("--html",)
    assert options_of(verbs, "report --out page")["home"] == Path("runs")
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_features_have_one_precision_in_prepare_and_in_runs(
    verbs: dict[Words, Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = options_of(verbs, "data prepare digits --feature-precision bfloat16")
    assert prepared["feature_precision"] == "bfloat16"
    line = "config dazle digits --feature-precision bfloat16 --precision float32 --json"
    assert app.main(line.split()) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["features.precision"]["value"] == "bfloat16"
    assert settings["train.precision"]["value"] == "float32"
    trained = "config dazle digits --precision bfloat16 --json"
    assert app.main(trained.split()) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["train.precision"]["value"] == "bfloat16"
    assert settings.get("features.precision", {"value": "float32"})["value"] == "float32"
