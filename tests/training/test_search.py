"""A search over a grid: every point or some trials, resumable, and honest about what is missing."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from zslkit.errors import DataError, UserError
from zslkit.training.search import AT_ONCE, LOST, Point, Search, TrialResult, in_turn

GRID = {"a": (1, 2, 3, 4, 5, 6), "b": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}


class Hill:
    """Highest at a = 4, b = 0.2; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    def __call__(self, points: Sequence[Point]) -> Iterator[tuple[int, TrialResult]]:
        for number, point in enumerate(points):
            self.asked.append((point["a"], point["b"]))
            yield (
                number,
                TrialResult({"H": 90 - 5 * abs(point["a"] - 4) - 50 * abs(point["b"] - 0.2)}),
            )


def test_every_point_is_tried_and_the_best_is_found(tmp_path: Path) -> None:
    hill, told = Hill(), list[float]()
    search = Search(GRID, tmp_path / "search.json")
    assert search.total == 36
    assert search.best(hill, told.append) == {"a": 4, "b": 0.2}
    assert len(set(hill.asked)) == len(told) == 36 and max(told) == 90


def test_points_that_were_tried_are_read_back(tmp_path: Path) -> None:
    Search(GRID, tmp_path / "search.json").best(Hill(), lambda h: None)
    again = Hill()
    assert Search(GRID, tmp_path / "search.json").best(again, lambda h: None) == {"a": 4, "b": 0.2}
    assert again.asked == []


def test_trials_are_fewer_than_points_and_the_same_for_one_seed(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    first, second = Hill(), Hill()
    search = Search(GRID, tmp_path / "1.json", trials=12, seed=3)
    assert search.total == 12
    best = search.best(first, lambda h: None)
    assert best is not None
    assert Search(GRID, tmp_path / "2.json", trials=12, seed=3).best(second, lambda h: None) == best
    assert first.asked == second.asked and 1 < len(first.asked) <= 12
    assert (best["a"], best["b"]) in first.asked


def test_as_many_trials_as_points_are_the_whole_grid(tmp_path: Path) -> None:
    hill = Hill()
    Search(GRID, tmp_path / "search.json", trials=36).best(hill, lambda h: None)
    assert len(set(hill.asked)) == 36


def test_trials_without_optuna_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **kw: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **kw)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"zslkit\[tune\]"):
        Search(GRID, tmp_path / "search.json", trials=2).best(Hill(), lambda h: None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[{}]",
        '[{"point": {"a": "1"}, "figures": {}}]',
        '[{"point": 1, "figures": {"H": 1}}]',
        "[1]",
    ],
)
def test_a_damaged_list_of_tried_points_is_told_by_name(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "search.json"
    kept.write_text(text)
    with pytest.raises(DataError, match=r"search\.json are damaged"):
        Search(GRID, kept).best(Hill(), lambda h: None)
    assert kept.read_text() == text


def test_points_that_are_lost_are_never_the_best(tmp_path: Path) -> None:
    def one(point: Mapping[str, Any]) -> TrialResult:
        return TrialResult({"H": 0.0 if point["a"] == 5 and point["b"] == 0.3 else LOST})

    assert Search(GRID, tmp_path / "1.json").best(in_turn(one), lambda h: None) == {
        "a": 5,
        "b": 0.3,
    }
    assert (
        Search(GRID, tmp_path / "2.json").best(
            in_turn(lambda point: TrialResult({"H": LOST})), lambda h: None
        )
        is None
    )


@pytest.mark.parametrize("trials", [None, 20])
def test_the_order_in_which_answers_come_decides_nothing(
    tmp_path: Path, trials: int | None
) -> None:
    """Four points are level at the top: the first that was proposed wins, in whatever order they
    were heard of."""
    if trials:
        pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    asked: list[list[tuple[int, float]]] = [[], []]

    def level(points: Sequence[Point], backwards: bool) -> Iterator[tuple[int, TrialResult]]:
        asked[backwards] += [(p["a"], p["b"]) for p in points]
        for number in sorted(range(len(points)), reverse=backwards):
            yield number, TrialResult({"H": float(min(points[number]["a"], 3))})

    found = [
        Search(GRID, tmp_path / f"{backwards}.json", trials, seed=1).best(
            lambda p, b=backwards: level(p, b), lambda h: None
        )
        for backwards in (False, True)
    ]
    assert found[0] == found[1] and asked[0] == asked[1]
    if trials is None:
        assert found[0] == {"a": 3, "b": 0.1}


def test_what_was_heard_of_is_kept_though_the_rest_never_comes(tmp_path: Path) -> None:
    def breaks(points: Sequence[Point]) -> Iterator[tuple[int, TrialResult]]:
        yield 7, TrialResult({"H": 1.0})
        yield 3, TrialResult({"H": 2.0})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(GRID, tmp_path / "search.json").best(breaks, lambda h: None)
    hill = Hill()
    Search(GRID, tmp_path / "search.json").best(hill, lambda h: None)
    assert len(hill.asked) == 34 and not {(2, 0.2), (1, 0.4)} & set(hill.asked)


def test_a_point_is_kept_before_it_is_told(tmp_path: Path) -> None:
    def interrupted(h: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(GRID, tmp_path / "search.json").best(Hill(), interrupted)
    hill = Hill()
    Search(GRID, tmp_path / "search.json").best(hill, lambda h: None)
    assert len(hill.asked) == 35


def test_every_proposal_is_told_though_a_point_comes_twice(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    told, hill = list[float](), Hill()
    small = {"a": (1, 2, 3), "b": (0.1, 0.2, 0.3)}
    Search(small, tmp_path / "search.json", trials=AT_ONCE, seed=2).best(hill, told.append)
    assert len(told) == AT_ONCE > len(hill.asked) == len(set(hill.asked))


def test_a_kept_point_is_known_by_its_settings_in_another_order_of_the_grid(tmp_path: Path) -> None:
    Search(GRID, tmp_path / "search.json").best(Hill(), lambda h: None)
    turned = {key: values[::-1] for key, values in reversed(GRID.items())}
    hill = Hill()
    assert Search(turned, tmp_path / "search.json").best(hill, lambda h: None) == {"a": 4, "b": 0.2}
    assert hill.asked == []


def test_of_a_changed_grid_only_the_new_points_are_tried(tmp_path: Path) -> None:
    kept = tmp_path / "search.json"
    Search({"a": (4, 5), "b": (0.2, 0.3)}, kept).best(Hill(), lambda h: None)
    hill = Hill()
    assert Search({"a": (3, 5), "b": (0.2,)}, kept).best(hill, lambda h: None) == {
        "a": 3,
        "b": 0.2,
    }  # level with a = 5, and before it
    assert hill.asked == [(3, 0.2)]
    more = Search({"a": (4,), "c": (1, 2)}, kept)
    asked: list[Point] = []
    assert more.best(
        in_turn(lambda point: TrialResult({"H": float(asked.append(point) or 1)})), lambda h: None
    ) == {"a": 4, "c": 1}
    assert asked == [{"a": 4, "c": 1}, {"a": 4, "c": 2}]


@pytest.mark.parametrize("edit", ["figure", "points", "NaN", "another run"])
def test_tried_points_that_were_edited_are_refused(tmp_path: Path, edit: str) -> None:
    kept = tmp_path / "search.json"
    Search(GRID, kept).best(Hill(), lambda h: None)
    rows = json.loads(kept.read_text())
    if edit == "points":
        rows[0]["point"], rows[1]["point"] = rows[1]["point"], rows[0]["point"]
    elif edit != "another run":
        rows[0]["figures"]["H"] = 99.0 if edit == "figure" else float("nan")
    else:
        (tmp_path / "other").mkdir()
        kept = tmp_path / "other" / kept.name
    kept.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"search\.json are damaged \(.* remove that file"):
        Search(GRID, kept).best(Hill(), lambda h: None)


def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    kept = tmp_path / "search.json"
    kept.write_text('[{"place": [3, 1], "point": {"a": "4", "b": "0.2"}, "figures": {"H": 90.0}}]')
    hill = Hill()
    assert Search(GRID, kept).best(hill, lambda h: None) == {"a": 4, "b": 0.2}
    assert len(hill.asked) == 35 and (4, 0.2) not in hill.asked
