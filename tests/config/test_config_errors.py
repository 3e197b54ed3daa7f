"""A wrong setting is told by key, file, line, and what the key takes, in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator

from zslkit.config import Config, FeatureConfig, ProtocolConfig, TrainConfig, build, yaml_lines
from zslkit.config.merge import Layer, merge, parse_set, read_yaml
from zslkit.config.scalars import alternatives
from zslkit.errors import UserError
from zslkit.model import ModelConfig


class Mine(Config):
    scale: float = Field(1.0, gt=0, le=10)
    how: Literal["l1", "l2"] = "l2"
    size: int | tuple[int, int] | None = None
    freeze: tuple[int, ...] = ()
    even: int = 2
    train: TrainConfig = TrainConfig()

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("It must be even")
        return value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "# note\n\nscale: 0",
            "mine: scale = 0 (FILE, line 3) is refused: it takes number, > 0, <= 10",
        ),
        ("how: l3", "mine: how = 'l3' (FILE, line 1) is refused: it takes l1 | l2"),
        (
            "train:\n  epochs: 3\n  lr: fast",
            "mine: train.lr = 'fast' (FILE, line 3) is refused: it takes number, > 0",
        ),
        (
            "train:\n  images_per_class: 2",
            "mine: train.images_per_class = 2 (FILE, line 2) is refused: batches of "
            "train.sampling=uniform draw images whatever their class; set train.sampling=balanced, "
            "or train.images_per_class=1",
        ),
        (
            "train:\n  batch_size: 32\n  images_per_class: 3\n  sampling: balanced",
            "mine: train.images_per_class = 3 (FILE, line 3) is refused: a batch of 32 images "
            "cannot hold 3 of each class; set train.batch_size=30",
        ),
        ("train:\n  random_crop: 0.5", "it takes number, >= 1, <= 4"),
        ("train:\n  optimizer: adan", 'it takes rmsprop | adam | adamw | sgd; did you mean "adam"'),
        (
            "size: [3, x]",
            "mine: size = [3, 'x'] (FILE, line 1) is refused: it takes integer or [integer, "
            "integer] or none",
        ),
        (
            "scale: 2\nsize: big",
            "mine: size = 'big' (FILE, line 2) is refused: it takes integer or",
        ),
        (
            "freeze:\n- 1\n- two",
            "mine: freeze.1 = 'two' (FILE, line 3) is refused: input should be a valid integer",
        ),
        ("even: 3", "mine: even = 3 (FILE, line 1) is refused: it must be even"),
        (
            "scale: 1\ntrain:\n  epoch: 3",
            "mine has no setting 'train.epoch' (FILE, line 3); did you mean \"train.epochs\"",
        ),
        ("scale: 1\nscale: 2", "FILE: 'scale' stands twice, in lines 1 and 2; keep one"),
        ("train:\n  lr: 1\n  lr: 2", "FILE: 'train.lr' stands twice, in lines 2 and 3; keep one"),
    ],
)
def test_the_sentence_names_key_file_line_and_what_it_takes(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        build(Mine, merge([read_yaml(file)]), "mine")
    assert sentence.replace("FILE", str(file)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_replaces_a_file_s_has_no_line_of_that_file(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("scale: 1\ntrain:\n  lr: 1")
    with pytest.raises(UserError, match=r"scale = -1 \(--set\) is refused"):
        build(Mine, merge([read_yaml(file), parse_set(["scale=-1"])]), "mine")
    with pytest.raises(UserError, match=r"train\.lr = 0 \(--set\)"):
        build(Mine, merge([read_yaml(file), parse_set(["train.lr=0"])]), "mine")


def test_the_file_that_wins_is_named_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("scale: -1")
    (tmp_path / "b.yaml").write_text("\n\nscale: -2")
    merged = merge(
        [read_yaml(tmp_path / "a.yaml"), read_yaml(tmp_path / "b.yaml", "preset b.yaml")]
    )
    with pytest.raises(UserError, match=r"scale = -2 \(preset b\.yaml, line 3\)"):
        build(Mine, merged, "mine")


def test_a_section_that_is_given_a_value_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\ntrain: 3")
    with pytest.raises(UserError, match=r"train \(.*a\.yaml, line 2\) is a section"):
        merge([read_yaml(tmp_path / "a.yaml")]).section("train")


def test_lines_of_merge_keys_and_aliases_are_left_out_and_values_are_right() -> None:
    values, lines, _ = yaml_lines.load("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 2\ne: *x\n")
    assert values == {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}}
    assert lines == {"a": 1, "a.b": 2, "c": 3, "c.d": 5, "e": 6}


def test_what_refers_to_itself_is_refused() -> None:
    with pytest.raises(yaml_lines.TooMuch, match="a value that it is part of"):
        yaml_lines.load("a: &x\n  b: *x\n")


def test_what_unfolds_to_millions_or_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    laughs = "a0: &a0 [ha, ha]\n" + "".join(
        f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)
    )
    for text, words in ((laughs, "more than 100,000 values"), ("[" * 5000, "nested too deeply")):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(UserError, match=words):
            read_yaml(tmp_path / "a.yaml")


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from("de"), st.integers(), min_size=1),
        min_size=1,
    )
)
def test_every_key_stands_in_the_line_that_is_said(values: dict[str, dict[str, int]]) -> None:
    text = "".join(
        f"{k}:\n" + "".join(f"  {i}: {n}\n" for i, n in inner.items())
        for k, inner in values.items()
    )
    read, lines, _ = yaml_lines.load(text)
    assert read == values
    written = text.splitlines()
    assert all(
        written[line - 1].strip().startswith(key.rpartition(".")[2] + ":")
        for key, line in lines.items()
    )
    assert merge([Layer(read, "x", lines)]).lines == {
        key: ("x", line) for key, line in lines.items()
    }


@pytest.mark.parametrize(
    "setting", ["selection=test", "selection='test (as papers do)'", "calibration=oracle"]
)
def test_no_setting_picks_a_result_on_test(setting: str) -> None:
    with pytest.raises(UserError, match=r"never picked on the test sets.*--as-papers-do"):
        build(ProtocolConfig, merge([parse_set([setting])]), "protocol")


class Crops(TrainConfig):
    random_crop: float = 1.2


def test_settings_that_came_later_are_written_only_where_they_do_something() -> None:
    later = {"accumulate", "offload", "images_per_class", "random_crop", "flip", "fresh_optimizer"}
    assert not later & set(TrainConfig().model_dump())
    used = TrainConfig(
        sampling="balanced", images_per_class=2, flip=True, fresh_optimizer=True, random_crop=1.5
    )
    written = used.model_dump()
    assert later - set(written) == {"accumulate", "offload"}
    assert TrainConfig.model_validate(written) == used


def test_a_class_with_a_default_of_its_own_is_read_back_as_it_was() -> None:
    for value in (1.0, 1.2, 1.5):
        crops = Crops(random_crop=value)
        assert crops.model_dump()["random_crop"] == value
        assert Crops.model_validate(crops.model_dump()) == crops


NUMBERS = [
    (kind, where, name)
    for kind, where in (
        (FeatureConfig, "features"),
        (ProtocolConfig, "protocol"),
        (TrainConfig, "train"),
    )
    for name, info in kind.model_fields.items()
    if {int, float} & set(alternatives(info.annotation))
]


@pytest.mark.parametrize("kind, where, name", NUMBERS, ids=[f"{w}.{n}" for _, w, n in NUMBERS])
def test_every_number_of_the_sections_is_finite_and_whole_numbers_have_an_end(
    kind: type[Config], where: str, name: str
) -> None:
    whole = float not in alternatives(kind.model_fields[name].annotation)
    for value in (".inf", "-.inf", ".nan", "1e999", *(["9" * 30] if whole else [])):
        with pytest.raises(UserError, match=f"{name} = .* is refused"):
            build(kind, merge([parse_set([f"{name}={value}"])]), where)


@pytest.mark.parametrize(
    "given",
    ["crop_pct=1e-9", "crop_pct=0.05", "size=100000", "size=[64, 5000]", "reduction=99999"],
)
def test_sizes_that_no_memory_holds_are_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"is refused: it takes .*(>= 0.1|<= 4096)"):
        build(FeatureConfig, merge([parse_set([given])]), "features")


def test_numbers_of_a_plugin_are_finite_too() -> None:
    class Own(ModelConfig):
        margin: float = 1.0

    with pytest.raises(UserError, match=r"margin = inf .* should be a finite number"):
        build(Own, merge([parse_set(["margin=.inf"])]), "own")


@pytest.mark.parametrize(
    ("items", "key"),
    [
        (["lam=1", "lam=2"], "lam"),
        (["train.lr=1", "train={epochs: 5}"], "train.lr"),
        (["train={epochs: 5}", "train.epochs=6"], "train.epochs"),
        (["train.lr=1", "train=null"], "train.lr"),
    ],
)
def test_set_replaces_nothing_that_set_said_before(items: list[str], key: str) -> None:
    with pytest.raises(UserError, match=f"--set {key} is given twice; keep one"):
        parse_set(items)
    assert parse_set(["lam=1", "lam=1", "train.lr=1"]).values == {"lam": 1, "train": {"lr": 1}}
    assert parse_set(["train={lr: 1}", "train.epochs=6"]).values == {
        "train": {"lr": 1, "epochs": 6}
    }
