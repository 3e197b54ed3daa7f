"""Checkpoints of the authors' program: their scores, losses and gradients for every dataset, and
files that are none."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.errors import DataError
from zslkit_dedn import official
from zslkit_dedn.groups import PAPER, RELEASED

Name = Literal["cub", "sun", "awa2"]
Which = Literal["paper", "released"]
D, R, W, C, UNSEEN = 6, 4, 5, 9, 3
CASES: list[tuple[Name, Which]] = [
    ("cub", "paper"),
    ("sun", "paper"),
    ("sun", "released"),
    ("awa2", "paper"),
]


def made_state(dataset: Name, clusters: Which, rank: int | None = None) -> dict[str, Tensor]:
    """A checkpoint as the authors' program writes it, in random numbers."""
    g = torch.Generator().manual_seed(0)
    groups = (PAPER if clusters == "paper" else RELEASED)[dataset]
    attributes = sum(map(len, groups))

    def net(name: str, count: int) -> dict[str, Tensor]:
        shapes = (
            [(W, D), (W, D), (W, R), (W, R)]
            if rank is None
            else [(W, rank), (W, D), (rank, D), (W, R), (W, R)]
        )
        made = {
            f"{name}.H_{i + 1}": torch.randn(shape, generator=g) for i, shape in enumerate(shapes)
        }
        return {f"{name}.V": F_.normalize(torch.randn(count, W, generator=g)), **made}

    mask = torch.ones(1, C)
    mask[:, UNSEEN:] = -1  # the last ones are seen here, so that nothing can go by position
    nets = [net("GNet", attributes), *(net(f"Snet{i}", len(c)) for i, c in enumerate(groups))]
    state = {
        "att": F_.normalize(torch.rand(C, attributes, generator=g)),
        "weight_ce": torch.eye(C),
        "bias": torch.tensor(1),
        "mask_bias": mask,
    }
    return state | {k: v for n in nets for k, v in n.items()}


def dan(state: dict[str, Tensor], net: str, F: Tensor) -> tuple[Tensor, Tensor]:
    """Region and channel scores of one subnet, image by image and by the equations alone."""
    V = state[f"{net}.V"]
    h = {i: state.get(f"{net}.H_{i}") for i in range(1, 6)}
    W1, W2, W3, W4 = (
        (h[1] @ h[3], h[2], h[4], h[5]) if h[5] is not None else (h[1], h[2], h[3], h[4])
    )  # type: ignore[operator]
    region, channel = [], []
    for f in F:
        region.append(((V @ W2 @ f).softmax(dim=1) * (V @ W1 @ f)).sum(dim=1))
        channel.append(((V @ W4 @ f.T).softmax(dim=1) * (V @ W3 @ f.T)).sum(dim=1))
    return torch.stack(region), torch.stack(channel)


def distance(x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    total = torch.zeros((), dtype=x.dtype)
    for a, b in zip(x, y, strict=True):
        d, p, q = a - b, a.softmax(0), b.softmax(0)
        m = (p + q) / 2
        total = (
            total
            + (d.abs() ** 3).sum() / (d.square().sum() + epsilon).sqrt()
            + ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
        )
    return total / len(x)


def program(
    state: dict[str, Tensor],
    x: Tensor,
    label: Tensor | None,
    *,
    m_true: float,
    c_mix: float,
    e_mix: float,
    lambda_cal: float,
) -> Tensor:
    """The final scores (label None) or the total loss of DEDN.md, all in the order of the
    clusters."""
    F = F_.normalize(x.flatten(2), dim=1)
    att, b = state["att"], state["bias"] * state["mask_bias"]
    order = [i for c in _clusters(state) for i in c]
    names = sorted(
        {k.split(".")[0] for k in state if k.startswith("Snet")}, key=lambda n: int(n[4:])
    )
    coarse = tuple(s[:, order] for s in dan(state, "GNet", F))
    fine = tuple(
        torch.cat(parts, dim=1) for parts in zip(*(dan(state, n, F) for n in names), strict=True)
    )
    if label is None:
        mixed = [c_mix * r + (1 - c_mix) * c for r, c in (coarse, fine)]
        return e_mix * (mixed[0] @ att.T + b) + (1 - e_mix) * (mixed[1] @ att.T + b)
    seen, z, total = state["mask_bias"].reshape(-1) < 0, [], torch.zeros((), dtype=x.dtype)
    for region, channel in (coarse, fine):
        z.append((region + channel) @ att.T + b)
        margins = seen.to(x.dtype) - m_true * F_.one_hot(label, C)
        total = total + F_.cross_entropy(z[-1] - b + margins, label)
        total = total - lambda_cal * z[-1].softmax(dim=1)[:, ~seen].sum(dim=1).mean().log()
        total = total + 0.001 * distance(region, channel, 1e-9)
    return total + 0.1 * distance(z[0], z[1], 1e-9)


def _clusters(state: dict[str, Tensor]) -> Any:
    sizes = tuple(
        len(state[f"Snet{i}.V"])
        for i in range(sum(k.startswith("Snet") and k.endswith(".V") for k in state))
    )
    return next(
        c for table in (PAPER, RELEASED) for c in table.values() if tuple(map(len, c)) == sizes
    )


@pytest.mark.parametrize(("dataset", "clusters"), CASES)
@pytest.mark.parametrize("rank", [None, 3])
def test_scores_loss_and_gradients_are_the_programs(
    dataset: Name, clusters: Which, rank: int | None
) -> None:
    state = made_state(dataset, clusters, rank)
    model = official.load_state_dict(
        state, dataset=dataset, clusters=clusters, c_mix=0.7, e_mix=0.4, lambda_cal=0.2
    )
    assert model.seen.tolist() == [False] * UNSEEN + [True] * (C - UNSEEN)
    g = torch.Generator().manual_seed(1)
    x, label = torch.rand(4, D, 2, 2, generator=g), torch.tensor([3, 8, 5, 3])
    settings: dict[str, Any] = {
        "m_true": 3.0 if dataset == "cub" else 2.0,
        "c_mix": 0.7,
        "e_mix": 0.4,
        "lambda_cal": 0.2,
    }
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval().scores(x), program(state, x, None, **settings), rtol=1e-5, atol=1e-5
        )
    theirs = {k: v.double().requires_grad_("." in k) for k, v in state.items()}
    loss = program(theirs, x.double(), label, **settings)
    total = model.train().loss(x, label)["total"]
    assert total.item() == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    total.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)
    gradients = official.state_dict(model)
    for name, value in theirs.items():
        if "." in name:
            assert value.grad is not None
            scale = float(value.grad.abs().max())
            torch.testing.assert_close(
                gradients[name].double(), value.grad, rtol=1e-4, atol=1e-5 * scale
            )


@pytest.mark.parametrize(("dataset", "clusters"), CASES)
def test_writing_gives_back_what_was_read(dataset: Name, clusters: Which) -> None:
    state = made_state(dataset, clusters, rank=3)
    again = official.state_dict(official.load_state_dict(state, dataset=dataset, clusters=clusters))
    assert set(again) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(again[name], value, check_dtype=False)


def test_mixes_default_to_the_preset_of_the_dataset() -> None:
    config = official.load_state_dict(
        made_state("sun", "released", 3), dataset="sun", clusters="released"
    ).config
    assert (config.c_mix, config.e_mix, config.m_true, config.rank) == (0.95, 0.3, 2.0, 3)


def test_missing_and_extra_names_are_listed() -> None:
    state = made_state("cub", "paper")
    state["head.weight"] = state.pop("Snet2.H_1")
    with pytest.raises(DataError, match=r"it lacks Snet2\.H_1; it has no place for head\.weight"):
        official.load_state_dict(state, dataset="cub")


def test_the_wrong_clusters_are_told() -> None:
    with pytest.raises(
        DataError,
        match=r"Snet0 holds 64 attributes and the chosen clusters give it 38; try the other "
        r"clusters",
    ):
        official.load_state_dict(made_state("sun", "released"), dataset="sun", clusters="paper")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("executed").touch, ())


@pytest.mark.parametrize("content", ["hostile", "cut", "list", "text", "none"])
def test_a_file_that_is_no_checkpoint_is_told_and_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    if content == "hostile":
        path.write_bytes(pickle.dumps({"att": Hostile()}))
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "text":
        path.write_text("no checkpoint")
    elif content == "cut":
        torch.save(made_state("awa2", "paper"), path)
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"model\.pth"):
        official.load_state_dict(path, dataset="awa2")
    assert not (tmp_path / "executed").exists()


def test_a_file_of_the_program_is_read(tmp_path: Path) -> None:
    state = made_state("awa2", "paper")
    torch.save(state, tmp_path / "m.pth")
    model = official.load_state_dict(tmp_path / "m.pth", dataset="awa2")
    torch.testing.assert_close(model.experts.coarse.V.detach(), state["GNet.V"])
