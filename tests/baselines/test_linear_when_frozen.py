"""APN and GEM-ZSL on frozen maps: what they declare is so, stands in the record, and is printed and
shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from attention_task import D, H, W, task
from zslkit_baselines.apn import APN
from zslkit_baselines.dazle import DAZLE
from zslkit_baselines.gem import GEMZSL

from zslkit.cli.app import main
from zslkit.model import GradientModel

X = torch.randn(6, D, H, W, generator=torch.Generator().manual_seed(1))
LABEL = torch.tensor([0, 2, 3, 0, 2, 3])


def trained(kind: type[GradientModel], local: float) -> GradientModel:
    """After three steps, with local losses of this weight."""
    weights = {
        APN: ("w_local_attribute", "w_local_class", "w_decorrelation", "w_compactness"),
        GEMZSL: ("w_attribute", "w_decorrelation", "w_compactness"),
    }[kind]
    torch.manual_seed(0)
    model = kind(kind.Config(**dict.fromkeys(weights, local)), task())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(model.loss(X, LABEL).values()).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("kind", [APN, GEMZSL])
def test_local_losses_do_not_reach_the_scores_of_frozen_maps(kind: type[GradientModel]) -> None:
    without, with_them = trained(kind, 0.0), trained(kind, 0.5)
    assert kind.linear_when_frozen(with_them.config)
    assert torch.equal(without.scores(X), with_them.scores(X))
    pooled = X.mean(dim=(2, 3), keepdim=True).expand_as(X)
    assert torch.allclose(with_them.scores(X), with_them.scores(pooled), atol=1e-5)


def test_the_largest_of_a_map_is_not_linear_and_other_models_say_nothing() -> None:
    assert not APN.linear_when_frozen(APN.Config(pooling="max"))
    assert not DAZLE.linear_when_frozen(DAZLE.Config())


@pytest.mark.slow
def test_the_badge_is_in_record_terminal_and_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(tmp_path / "runs")
    short = ["--set", "train.epochs=1", "--set", "train.steps_per_epoch=1", "--out", runs]
    for model in ("gemzsl", "dazle"):
        assert main(["run", "--model", model, "--dataset", "digits", *short]) == 0
        printed = capsys.readouterr().out
        assert ("one linear map of pooled features" in printed) == (model == "gemzsl")
    records = {
        record["model"]["name"]: record["model"]["linear"]
        for record in map(json.loads, (p.read_text() for p in Path(runs).rglob("record.json")))
    }
    assert records == {"gemzsl": True, "dazle": False}
    page = tmp_path / "page"
    assert main(["report", "--runs", runs, "--out", str(page)]) == 0
    text = (page / "index.html").read_text(encoding="utf-8")
    assert 'class="badge linear"' in text and "one linear map of pooled features" in text
