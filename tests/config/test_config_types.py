"""A value is what the key that takes it expects: names stay names, and numbers are numbers however
they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from zslkit.config import Config, FeatureConfig, TrainConfig, build
from zslkit.config.merge import Layer, merge, parse_set, read_yaml
from zslkit.errors import UserError
from zslkit.report.study import read_study, variants
from zslkit.runs.plan import make_features, make_plan


class Inner(Config):
    name: str = ""
    rate: Annotated[float, Field(gt=0)] = 1.0


class Everything(Config):
    name: str = ""
    maybe: str | None = None
    either: int | str = 0
    count: int = 0
    rate: float | None = None
    flag: bool = False
    mode: Literal["on", "off", "1e5"] = "off"
    names: list[str] | str = ""
    rates: tuple[float, ...] = ()
    size: int | tuple[int, int] | None = None
    place: Path | None = None
    groups: dict[str, list[str]] = Field({})
    inner: Inner = Inner()
    untyped: dict[str, Any] = Field({})


def set_to(*items: str) -> Everything:
    return build(Everything, merge([parse_set(items)]), "test")


NAMES = [
    "1e5",
    "1E5",
    "007",
    "1_000",
    "12",
    "1.50",
    "on",
    "no",
    "true",
    "2024-01-01",
    "0x1f",
    "1:30",
    ".5",
    "resnet50",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_as_it_was_written(name: str, tmp_path: Path) -> None:
    by_set = set_to(
        f"name={name}",
        f"maybe={name}",
        f"place={name}",
        f"names=[{name}, a]",
        f"groups={{g: [{name}]}}",
        f"inner.name={name}",
    )
    lines = (
        f"name: {name}\nmaybe: {name}\nplace: {name}\nnames: [{name}, a]\ngroups:\n  g:\n  - "
        f"{name}\ninner:\n  name: {name}\n"
    )
    (tmp_path / "a.yaml").write_text(lines)
    for made in (by_set, build(Everything, merge([read_yaml(tmp_path / "a.yaml")]), "test")):
        assert (made.name, made.maybe, made.place, made.inner.name) == (
            name,
            name,
            Path(name),
            name,
        )
        assert (made.names, made.groups) == ([name, "a"], {"g": [name]})


def test_numbers_are_numbers_with_and_without_a_dot() -> None:
    made = set_to(
        "rate=1e-4",
        "count=1e3",
        "rates=[1e-1, 2, 3E+0]",
        "size=[1e2, 50]",
        "inner.rate=2e0",
        "flag=true",
        "either=7",
    )
    assert (made.rate, made.count, made.rates, made.size) == (
        1e-4,
        1000,
        (0.1, 2.0, 3.0),
        (100, 50),
    )
    assert (made.inner.rate, made.flag, made.either) == (2.0, True, 7)
    assert set_to("either=1e5").either == "1e5"
    assert set_to("maybe=null").maybe is None


def test_the_word_of_a_choice_may_look_like_something_else() -> None:
    assert (set_to("mode=on").mode, set_to("mode=1e5").mode) == ("on", "1e5")


def test_what_nobody_typed_stays_as_yaml_reads_it() -> None:
    assert set_to("untyped={a: 1e5, b: 7}").untyped == {"a": "1e5", "b": 7}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("rate=1e5x", "rate = '1e5x'"),
        ("inner.rate=-1e-4", "inner.rate = -0.0001"),
        ("flag=7", "flag = 7"),
    ],
)
def test_what_fits_no_reading_is_refused_as_it_was_read(item: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        set_to(item)
    assert f"{said} (--set) is refused" in str(error.value)


def test_the_text_of_a_value_that_another_layer_replaced_is_forgotten() -> None:
    replaced = merge(
        [parse_set(["name=007", "names=[007, 008, 009]"]), Layer({"names": [1]}, "option")]
    )
    assert replaced.texts == {"name": "007"}
    with pytest.raises(UserError, match=r"names = \[1\] \(option\) is refused"):
        build(Everything, replaced, "test")


@given(
    st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300),
    st.sampled_from(["{:e}", "{:g}", "{:E}", "{!r}"]),
)
def test_every_number_is_read_as_written(value: float, form: str) -> None:
    text = form.format(value)
    assert build(Inner, merge([parse_set([f"rate={text}"])]), "test").rate == float(text)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,8}", fullmatch=True).filter(
        lambda name: name.lower() not in ("null", "n", "y")
    )
)
def test_no_name_is_changed(name: str) -> None:
    assert set_to(f"name={name}").name == name


def test_a_backbone_of_a_plan_may_have_any_name(tmp_path: Path) -> None:
    plan = make_plan(
        "eszsl", "digits", settings=["features.backbone=1e5", "features.weights=007", "gamma=1e1"]
    )
    assert (plan.features.backbone, plan.features.weights, plan.values["gamma"]) == (
        "1e5",
        "007",
        10.0,
    )
    (tmp_path / "a.yaml").write_text("features: {backbone: 2e6, weights: 1_0}\nother: {x: 3}\n")
    assert make_features("digits", config=tmp_path / "a.yaml") == FeatureConfig(
        **{**make_features("digits").model_dump(), "backbone": "2e6", "weights": "1_0"}
    )


def test_a_study_shows_numbers_and_hands_on_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "title: t\nmodel: dazle\ngrid:\n  train.lr: [1e-4, 0.5]\n  features.backbone: [1e5]\n"
    )
    first, second = variants(read_study(tmp_path / "s.yaml"))
    assert [v.point["train.lr"] for v in (first, second)] == [1e-4, 0.5]
    plan = make_plan("dazle", "digits", overrides=first.settings)
    assert (
        plan.features.backbone == "1e5"
        and TrainConfig.model_validate(plan.values["train"]).lr == 1e-4
    )


@pytest.mark.parametrize("key", ["count", "rate", "inner.rate"])
def test_underscores_stand_between_thousands_or_make_no_number(key: str, tmp_path: Path) -> None:
    assert set_to("count=1_000", "rate=2_000.5").count == 1000
    for text in ("1_0", "1_0.5", "1_0e1", "'1_0'", "10_00"):
        with pytest.raises(UserError, match=rf"{key} = .*_.* is refused"):
            set_to(f"{key}={text}")
    (tmp_path / "a.yaml").write_text("rate: 1_0.5\nname: 1_0\n")
    with pytest.raises(UserError, match=r"rate = '1_0\.5' \(.*a\.yaml, line 1\) is refused"):
        build(Everything, merge([read_yaml(tmp_path / "a.yaml")]), "test")
    assert set_to("name=1_0").name == "1_0"


@pytest.mark.parametrize("text", ["010", "-0224", "0_100", "1:30", "1:30.5", "yes", "on", "true"])
def test_a_number_is_not_written_in_base_8_or_60_or_as_a_word(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"rates: [1, {text}]\n")
    settled = [parse_set([f"{key}={text}"]) for key in ("count", "rate", "inner.rate", "size")]
    for layer in [*settled, parse_set([f"size=[{text}, 50]"]), read_yaml(tmp_path / "a.yaml")]:
        with pytest.raises(UserError, match=rf"= .*'{text}'.* is refused: "):
            build(Everything, merge([layer]), "test")
    assert set_to("count=007", "rate=010.5", "either=yes").count == 7
    with pytest.raises(UserError, match=r"'true' \(given\) is refused: .* in plain digits"):
        build(Everything, merge([Layer({"count": True}, "given")]), "test")


@pytest.mark.parametrize("text", ["010", "1:30", "1_0"])
def test_such_numbers_are_texts_where_nobody_says_a_type(text: str, tmp_path: Path) -> None:
    assert set_to(f"untyped={{a: [{text}], b: 7}}").untyped == {"a": [text], "b": 7}
    assert set_to(f"either={text}").either == text
    (tmp_path / "s.yaml").write_text(
        f"title: t\nmodel: dazle\nsettings: {{train: {{epochs: {text}}}}}\n"
        f"grid:\n  train.lr: [0.1, {text}]\n"
    )
    study = read_study(tmp_path / "s.yaml")
    assert (study.settings, study.grid["train.lr"]) == ({"train": {"epochs": text}}, [0.1, text])
    for settings in (variants(study)[0].settings, parse_set([f"train.epochs={text}"]).values):
        with pytest.raises(UserError, match=rf"train.epochs = '{text}' .*is refused"):
            make_plan("dazle", "digits", overrides=settings)


@pytest.mark.parametrize("key", ["no", "1", "010", "2024-01-01", "~", "1e3", "on"])
def test_keys_are_texts(key: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"groups:\n  {key}: [no, 010]\n")
    for layer in (parse_set([f"groups={{{key}: [no, 010]}}"]), read_yaml(tmp_path / "a.yaml")):
        assert build(Everything, merge([layer]), "test").groups == {key: ["no", "010"]}
