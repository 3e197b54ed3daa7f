"""Comparisons as they are shown: terminal, Markdown and JSON say the same."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from run_folders import UNLABELLED

from zslkit.record import RunRecord
from zslkit.report.as_data import as_json
from zslkit.report.block import Block
from zslkit.report.comparison import compare
from zslkit.report.published import Published
from zslkit.report.rows import key_of
from zslkit.report.tables import grid, markdown
from zslkit.report.terminal import rich_table

Make = Callable[..., RunRecord]
PRINTED = Published(
    method="Famous",
    dataset="cub",
    input="end to end",
    T1=70.0,
    U=None,
    S=None,
    H=60.0,
    unconfirmed=("H",),
    **UNLABELLED,
)


def seeded(make: Make, seed: int, H: float = 40.0, **changes: Any) -> RunRecord:
    return make(seed=seed, identity=f"{seed:012x}", **{"metrics": {"H": H}, **changes})


def in_terminal(blocks: list[Block], width: int = 250) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_table(blocks))
    return console.export_text()


def row_of(text: str, name: str) -> list[str]:
    (line,) = [
        line for line in text.splitlines() if line.startswith((f"| {name} ", f"| *{name}* "))
    ]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_mean_and_standard_deviation_over_seeds(make: Make) -> None:
    blocks = compare([seeded(make, 0, 40.0), seeded(make, 1, 44.0)])
    assert "42.0 ± 2.8" in markdown(blocks)
    assert "42.0±2.8" in in_terminal(blocks)
    (row,) = as_json(blocks)[0]["rows"]
    assert row["metrics"]["H"] == {"mean": 42.0, "std": pytest.approx(8**0.5), "n": 2}
    assert (row["n"], row["seeds"]) == (2, [0, 1])


def test_a_row_by_hand(make: Make) -> None:
    cells = row_of(markdown(compare([make()])), "alpha")
    protocol = "inductive, last epoch, uncalibrated, backbone frozen, map"
    assert cells == [
        "alpha",
        "1",
        "60.0",
        "50.0",
        "40.0",
        "44.4",
        "0.310",
        "1.2 M",
        "3 min 20 s",
        "812 MB",
        protocol,
    ]


def test_the_best_is_bold_and_the_figure_picked_on_test_never_is(make: Make) -> None:
    changes: dict[str, Any] = {"optimistic": {"H": 44.0}}
    blocks = compare(
        [seeded(make, 0, 40.0, **changes), seeded(make, 1, 41.0, model={"name": "beta"}, **changes)]
    )
    text = markdown(blocks)
    assert "**41.0**" in text
    assert "**40.0**" not in row_of(text, "alpha")[5]
    assert "44.0" in text
    assert "**44.0**" not in text
    assert "no result" in text
    bold = [
        span for row in grid(blocks[0]).rows for span in row if span.bold and span.text == "41.0"
    ]
    assert len(bold) == 1


def test_a_calibrated_h_says_so_and_shows_the_uncalibrated_one_beside_it(make: Make) -> None:
    calibrated = {
        "protocol": {"calibration": "validation", "gamma": 0.7},
        "uncalibrated": {"H": 31.5},
        "metrics": {"H": 52.5},
    }
    assert "H, gamma 0" not in markdown(compare([make()]))
    for text in (
        markdown(compare([make(**calibrated)])),
        in_terminal(compare([make(**calibrated)])),
    ):
        for word in ("H, gamma 0", "31.5", "52.5", "gamma picked on validation (0.70)"):
            assert word in text


def test_chance_stands_in_every_block(make: Make) -> None:
    text = markdown(compare([make()]))
    assert row_of(text, "chance")[2:7] == ["*100.0*", "*33.3*", "*33.3*", "*33.3*", "*-*"]
    assert as_json(compare([make()]))[0]["chance"] == {"T1": 100.0, "U": 33.3, "S": 33.3, "H": 33.3}


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"size": 448}, "resolution: 448 px"),
        ({"tuned": True}, "tuned"),
        ({"backbone": "other"}, "backbone: other"),
    ],
)
def test_rows_that_are_not_comparable_stand_in_tables_of_their_own(
    make: Make, features: dict[str, Any], words: str
) -> None:
    blocks = compare([make(), make(model={"name": "beta"}, features=features)])
    assert markdown(blocks).count("### ") == 2
    for text in (markdown(blocks), in_terminal(blocks)):
        assert text.count("Not comparable with the other blocks") == 2
        assert words in text


def test_published_rows_are_grey_and_doubt_is_shown(make: Make) -> None:
    block = compare([make(dataset={"published_as": "cub"})], [PRINTED])[0]
    cells = grid(block).rows[-1]
    assert all(cell.grey and not cell.bold for cell in cells)
    assert [cell.text for cell in cells[:7]] == [
        "Famous, end to end",
        "",
        "70.0",
        "-",
        "-",
        "60.0?",
        "-",
    ]
    assert cells[-1].text == (
        "published; ResNet-101 tuned; unknown: protocol, selection, calibration, resolution, "
        "split; H unconfirmed"
    )
    (entry,) = as_json([block])[0]["published"]
    assert (entry["method"], entry["confirmed"], entry["U"]) == ("Famous", False, None)
    assert "Famous" not in markdown(compare([make()], [PRINTED]))


def test_eighty_columns_are_enough(make: Make) -> None:
    calibrated = {
        "protocol": {"calibration": "validation", "gamma": 0.7},
        "dataset": {"published_as": "cub"},
    }
    famous = PRINTED.model_copy(update={"notes": "per image"})
    blocks = compare(
        [seeded(make, 0, 40.0, **calibrated), seeded(make, 1, 44.0, **calibrated)], [famous]
    )
    text = in_terminal(blocks, width=80)
    assert "…" not in text
    shown = [
        "alpha",
        "60.0±0.0",
        "42.0±2.8",
        "44.4±0.0",
        "0.310±0.000",
        "1.2 M",
        "3 min 20 s",
        "812 MB",
        "Famous",
        "60.0?",
    ]
    for word in [*shown, "0.70", "?: unconfirmed", "Famous (published): per image."]:
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_unknown_costs_are_a_dash(make: Make) -> None:
    assert row_of(markdown(compare([make(costs={"peak_memory_mb": None})])), "alpha")[9] == "-"


def test_large_costs_stay_readable(make: Make) -> None:
    costs = {"parameters": 44_549_160, "train_seconds": 7384.0, "peak_memory_mb": 23_000.0}
    assert row_of(markdown(compare([make(costs=costs)])), "alpha")[7:10] == [
        "44.5 M",
        "2 h 03 min",
        "23.0 GB",
    ]


def test_names_are_shown_and_never_obeyed(make: Make) -> None:
    blocks = compare([make(model={"name": "[red]a|b[/red]\x1b[2J<b>"}, dataset={"title": "x\ny"})])
    terminal, text = in_terminal(blocks), markdown(blocks)
    assert "[red]a|b[/red]?[2J<b>" in terminal
    assert "a\\|b[/red]?[2J&lt;b>" in text
    assert "x?y" in text
    assert "\x1b" not in terminal + text


def test_the_data_is_plain_json(make: Make) -> None:
    blocks = compare([make(dataset={"published_as": "cub"})], [PRINTED])
    assert json.loads(json.dumps(as_json(blocks), allow_nan=False)) == as_json(blocks)


def test_nothing_to_show_is_nothing() -> None:
    assert (markdown([]), as_json([])) == ("", [])


def test_rich_is_imported_only_to_print() -> None:
    code = (
        "import sys, zslkit.report.tables, zslkit.report.terminal; print(sorted({'rich', "
        "'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_h_stands_with_its_interval_and_still_fits_eighty_columns(make: Make) -> None:
    calibrated = {"protocol": {"calibration": "validation", "gamma": 0.7}}
    (block,) = compare([seeded(make, 0, 40.0, **calibrated), seeded(make, 1, 44.0, **calibrated)])
    bounded = replace(
        block,
        rows=tuple(
            replace(row, intervals={"H": (39.96, 44.04), "T1": (1.0, 2.0)}) for row in block.rows
        ),
    )
    assert row_of(markdown([bounded]), "alpha")[5] == "42.0 ± 2.8 [40.0, 44.0]"
    text = in_terminal([bounded], width=80)
    assert "42.0±2.8" in text and "[40.0, 44.0]" in text and "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert as_json([bounded])[0]["rows"][0]["intervals"] == {"H": [39.96, 44.04], "T1": [1.0, 2.0]}


def test_json_rows_name_their_run_folders_in_the_order_of_their_seeds(make: Make) -> None:
    records = [seeded(make, 1), seeded(make, 0)]
    (row,) = as_json(compare(records, folders={key_of(r): f"runs/{r.seed}" for r in records}))[0][
        "rows"
    ]
    assert (row["seeds"], row["folders"]) == ([0, 1], ["runs/0", "runs/1"])
