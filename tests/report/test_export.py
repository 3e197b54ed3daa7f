"""LaTeX and CSV: escaped names, marked bests, and every number with its run folders."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from run_folders import UNLABELLED

from zslkit.record import RunRecord
from zslkit.report.as_data import as_json
from zslkit.report.block import Block
from zslkit.report.comparison import compare
from zslkit.report.export import HEADER, as_csv, escaped, latex
from zslkit.report.published import Published
from zslkit.report.rows import key_of
from zslkit.report.tables import markdown

Make = Callable[..., RunRecord]


def blocks_of(make: Make, **changes: Any) -> list[Block]:
    records = [
        make(seed=seed, identity=f"{seed:012x}", model={"name": name}, metrics={"H": H}, **changes)
        for name, H in (("alpha", 41.0), ("beta_1", 42.0))
        for seed in (0, 1)
    ]
    folders = {key_of(r): f"runs/birds/{r.model.name}/seed{r.seed}" for r in records}
    blocks = compare(
        records,
        [
            Published(
                method="Famous & co",
                dataset="cub",
                input="map",
                T1=70.0,
                U=None,
                S=None,
                H=60.0,
                **UNLABELLED,
            )
        ],
        folders,
    )
    return [
        replace(b, rows=tuple(replace(row, intervals={"H": (38.04, 43.96)}) for row in b.rows))
        for b in blocks
    ]


def lines_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_latex_has_a_row_for_each_row_and_marks_the_best(make: Make) -> None:
    text = latex(blocks_of(make, dataset={"published_as": "cub"}))
    assert r"\textbf{42.0 $\pm$ 0.0} {\scriptsize {[}38.0, 44.0{]}}" in text
    assert r"& 41.0 $\pm$ 0.0 {\scriptsize" in text
    assert r"\textit{chance}" in text and r"\textit{Famous \& co, map}" in text
    assert r"beta\_1 & 2 & " in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 2 + 1 + 1
    (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
    for rule in ("toprule", "bottomrule", "begin{table}", "end{table}", "end{tabular}"):
        assert text.count(f"\\{rule}") == 1
    assert "% beta_1: runs/birds/beta_1/seed0 runs/birds/beta_1/seed1" in text


def test_names_never_command_latex(make: Make) -> None:
    assert (
        escaped(r"a_b\input{x}%&$#~^[")
        == r"a\_b\textbackslash{}input\{x\}\%\&\$\#\textasciitilde{}\textasciicircum{}{[}"
    )
    text = latex(compare([make(model={"name": "x\n\\evil{}"})]))
    assert "\\evil" not in re.sub(r"^%.*$", "", text, flags=re.M)
    assert "\n\\evil" not in text


def test_each_line_of_csv_leads_to_its_run_folders(make: Make) -> None:
    lines = lines_of(as_csv(blocks_of(make, dataset={"published_as": "cub"})))
    assert [(line["kind"], line["model"]) for line in lines] == [
        ("runs", "alpha"),
        ("runs", "beta_1"),
        ("chance", "chance"),
        ("published", "Famous & co"),
    ]
    alpha = lines[0]
    assert alpha["folders"] == "runs/birds/alpha/seed0|runs/birds/alpha/seed1"
    assert (alpha["seeds"], alpha["runs"]) == ("0|1", "2")
    assert (alpha["H"], alpha["H_std"], alpha["H_low"], alpha["H_high"]) == (
        "41.0",
        "0.0",
        "38.04",
        "43.96",
    )
    assert (alpha["T1"], alpha["T1_low"], alpha["dataset"], alpha["resolution"]) == (
        "60.0",
        "",
        "birds",
        "224 px",
    )
    assert (lines[3]["T1"], lines[3]["U"], lines[3]["folders"]) == ("70.0", "", "")
    assert lines[2]["H"] == "33.3"


def test_csv_of_several_blocks_is_one_table(make: Make) -> None:
    text = as_csv(compare([make(), make(dataset={"name": "scenes"})]))
    assert text.splitlines()[0] == ",".join(HEADER)
    assert [line["dataset"] for line in lines_of(text) if line["kind"] == "runs"] == [
        "birds",
        "scenes",
    ]


def test_a_name_is_no_formula_in_a_spreadsheet(make: Make) -> None:
    (line, _) = lines_of(as_csv(compare([make(model={"name": "=cmd()"})])))
    assert line["model"] == "'=cmd()"
    (line, _) = lines_of(as_csv(compare([make(metrics={"U": 0.0})])))
    assert line["U"] == "0.0"


def test_rows_of_one_label_keep_their_own_folders_everywhere(make: Make) -> None:
    """Calibration is told by a badge and not by the label, so two rows are called alpha."""
    records = [
        make(identity="a" * 12),
        make(
            identity="b" * 12,
            seed=1,
            protocol={"calibration": "validation", "gamma": 0.5, "folds": 1},
        ),
    ]
    blocks = compare(records, folders={key_of(r): f"runs/{r.identity[0]}" for r in records})
    assert [row.label for row in blocks[0].rows] == ["alpha", "alpha"]
    comments = [line for line in latex(blocks).splitlines() if line.startswith("% alpha")]
    assert comments == [
        "% alpha [inductive, last epoch, gamma picked on validation, backbone frozen]: runs/b",
        "% alpha [inductive, last epoch, uncalibrated, backbone frozen]: runs/a",
    ]
    assert [row["folders"] for row in lines_of(as_csv(blocks)) if row["kind"] == "runs"] == [
        "runs/b",
        "runs/a",
    ]
    told = [
        line for line in markdown(blocks).splitlines() if line.startswith("- Run folders of alpha")
    ]
    assert [line.rpartition(": ")[2] for line in told] == ["runs/b.", "runs/a."]


def test_a_linear_row_is_marked_in_every_form_and_no_other(make: Make) -> None:
    records = [
        make(identity=f"{n:012x}", model={"name": name, "linear": linear})
        for n, (name, linear) in enumerate([("straight", True), ("bent", False)])
    ]
    blocks = compare(records)
    for text in (latex(blocks), as_csv(blocks), markdown(blocks)):
        marked = {
            name: "frozen: linear" in line
            for line in text.splitlines()
            for name in ("straight", "bent")
            if name in line
        }
        assert marked == {"straight": True, "bent": False}
    (data,) = as_json(blocks)
    assert {row["model"]: row["badges"]["linear"] for row in data["rows"]} == {
        "straight": True,
        "bent": False,
    }
