"""Settings of several models at once: shared, or of one model alone; dazle has epochs, eszsl
none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zslkit.cli import app
from zslkit.config.merge import flat
from zslkit.errors import UserError
from zslkit.runs.plan import make_plan
from zslkit.runs.shared_settings import own_preset

TABLE = ("eszsl", "dazle", "ale")


def settled(model: str, *settings: str, config: Path | None = None, **more: Any) -> dict[str, Any]:
    plan = make_plan(model, "digits", settings=settings, config=config, table=TABLE, **more)
    return flat(plan.values)


def test_a_shared_setting_reaches_the_models_that_have_it() -> None:
    assert settled("dazle", "train.epochs=3")["train.epochs"] == 3
    assert settled("ale", "train.epochs=3")["train.epochs"] == 3
    assert settled("eszsl", "train.epochs=3") == settled("eszsl")


@pytest.mark.parametrize("order", [1, -1])
def test_a_model_s_own_setting_wins_over_the_shared_one_in_any_order(order: int) -> None:
    settings = ["train.epochs=3", "dazle:train.epochs=2"][::order]
    assert settled("dazle", *settings)["train.epochs"] == 2
    assert settled("ale", *settings)["train.epochs"] == 3
    assert settled("eszsl", *settings) == settled("eszsl")


def test_a_file_has_sections_of_single_models(tmp_path: Path) -> None:
    file = tmp_path / "table.yaml"
    file.write_text(
        "train: {epochs: 7, lr: 1e-3}\nprotocol: {fold_seed: 4}\n"
        "dazle:\n  train:\n    epochs: 2\neszsl:\n  lam: 3\nale:\n"
    )
    dazle, eszsl, ale = (settled(name, config=file) for name in ("dazle", "eszsl", "ale"))
    assert (dazle["train.epochs"], dazle["train.lr"]) == (2, 1e-3)
    assert (ale["train.epochs"], eszsl["lam"]) == (7, 3)
    assert {found["protocol.fold_seed"] for found in (dazle, eszsl, ale)} == {4}
    assert settled("dazle", "train.epochs=5", config=file)["train.epochs"] == 2
    assert settled("dazle", "dazle:train.epochs=5", config=file)["train.epochs"] == 5


def test_a_setting_that_no_model_has_is_an_error_for_each() -> None:
    for model in TABLE:
        with pytest.raises(UserError, match=r"'train.epoch' \(--set\); did you mean \"train.epoch"):
            settled(model, "train.epoch=3")


def test_a_wrong_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "table.yaml"
    file.write_text("protocol: {folds: 2}\ntrian:\n  epochs: 3\n")
    with pytest.raises(UserError, match=r"No model of this table .*table.yaml, line 2"):
        settled("eszsl", config=file)
    file.write_text("dazle:\n  train:\n    epochs: 2\n    batch: 3\n")
    with pytest.raises(UserError, match=r"dazle has no setting 'train.batch' .*table.yaml, line 4"):
        settled("dazle", config=file)
    file.write_text("dazle: 3\n")
    with pytest.raises(UserError, match="dazle is a model of this table"):
        settled("dazle", config=file)


def test_a_model_that_is_not_in_the_table_is_named() -> None:
    with pytest.raises(UserError, match="no model of this table 'dazl'; did you mean \"dazle\""):
        settled("eszsl", "dazl:train.epochs=2")
    with pytest.raises(UserError, match=r"dazle has no setting 'train\.epoch'"):
        settled("dazle", "dazle:train.epoch=2")


def test_a_model_of_a_distribution_goes_by_both_names() -> None:
    name = "zslkit:dazle"
    for owner in ("dazle", name):
        plan = make_plan(
            name, "digits", settings=[f"{owner}:train.epochs=2"], table=(name, "eszsl")
        )
        assert flat(plan.values)["train.epochs"] == 2


def test_a_backbone_for_all_leaves_alone_a_model_that_brings_its_own() -> None:
    plan = make_plan("clip", "digits", settings=["features.size=64"], table=("clip", "eszsl"))
    assert "features.size" not in flat(plan.values)
    with pytest.raises(UserError, match=r"features.size"):
        make_plan("clip", "digits", settings=["features.size=64"])


def test_one_model_alone_takes_them_as_before() -> None:
    with pytest.raises(UserError, match="eszsl has no setting 'train'"):
        make_plan("eszsl", "digits", settings=["train.epochs=3"])


def test_changed_settings_are_those_with_an_effect_beside_preset_and_default() -> None:
    def usual(model: str, *settings: str) -> Any:
        return make_plan(model, "digits", settings=settings).usual

    assert usual("dazle") == {}
    assert usual("dazle", "train.epochs=15", "protocol.folds=3", "protocol.watch_test=0") == {}
    assert usual("dazle", "train.epochs=2", "train.lr=1e-3")["train.epochs"] == 15
    assert usual("eszsl", "protocol.tune=false") == {"protocol.tune": True}


@pytest.mark.parametrize(
    "given, words",
    [
        (["--set", "ridge:nosuch=1"], "ridge has no setting 'nosuch'"),
        (["--set", "eszsl:lamm=1"], 'did you mean "lam" or'),
        (["--set", "eszsl:features.sise=64"], 'did you mean "size"?'),
        (["--set", "eszsl:lam=abc"], "eszsl: lam = 'abc'"),
        (["--set", "rigde:centre=true"], 'did you mean "ridge"?'),
        (["--set", "centr=true"], 'did you mean "centre"?'),
        (["--config", "own.yaml"], "eszsl has no setting 'train'"),
    ],
)
def test_a_mistake_in_what_is_said_to_one_model_is_told_before_any_other_trains(
    given: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("eszsl:\n  train:\n    epochs: 2\n")
    assert app.main(["compare", "eszsl", "ridge", *given]) == 2
    out, err = capsys.readouterr()
    assert words in err and not out and not Path("runs").exists()


def test_a_model_s_own_preset_wins_over_that_of_all() -> None:
    given = ("default", "dazle:digits", "ale:zsl")
    assert [own_preset(model, TABLE, given) for model in TABLE] == ["default", "digits", "zsl"]
    assert [own_preset(model, TABLE, ["dazle:digits"]) for model in TABLE] == [None, "digits", None]
    with pytest.raises(UserError, match="given for ale as zsl and fast; give one"):
        own_preset("ale", TABLE, ["ale:zsl", "fast", "ale:fast"])
    with pytest.raises(UserError, match='did you mean "dazle"'):
        own_preset("ale", TABLE, ["dazel:zsl"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("eszls:default", 'did you mean "eszsl"'),
        ("dazle:defalt", "dazle has no preset 'defalt' for digits"),
        ("dazle:defalt", 'did you mean "default"'),
    ],
)
def test_a_wrong_preset_of_one_model_ends_compare_before_anything_trains(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", "eszsl", "dazle", "--out", str(tmp_path / "runs"), "--preset", given]
    assert app.main(line) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_compare_looks_for_the_run_of_a_model_s_own_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str | None] = {}

    def planned(model: str, dataset: str, preset: str | None, **_: Any) -> None:
        asked[model] = preset
        raise UserError("enough")

    monkeypatch.setattr("zslkit.runs.api.make_plan", planned)
    line = ["compare", "eszsl", "dazle", "--out", str(tmp_path), "--preset", "dazle:fast"]
    assert app.main([*line, "--preset", "default"]) == 2
    assert asked == {"eszsl": "default", "dazle": "fast"}
