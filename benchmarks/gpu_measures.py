"""What benchmarks/gpu.py measures: equality with the CPU, resuming, steps, extraction, training;
each yields rows of a table."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from dan_step import SIZES, Size, flops, make_task
from plain_dedn import PlainDEDN
from torch import Tensor

from zslkit.config import FeatureConfig, build
from zslkit.config.merge import Layer, merge, nested
from zslkit.features.backbones import load_backbone
from zslkit.features.extract import open_store
from zslkit.model import GradientModel
from zslkit.readers.images import ArrayImages
from zslkit.registry import MODELS
from zslkit.testing import tiny_dataset, tiny_inputs, tiny_task
from zslkit.training.fit import fit, make_model
from zslkit.training.loop import Loop
from zslkit.training.step import take_step
from zslkit.utils.progress import Silent
from zslkit_dedn.model import DEDN, DEDNConfig

CPU = torch.device("cpu")
SMALL = {"small": Size(12, 15, 6, 2, batch=8, channels=16)}


class Row(NamedTuple):
    """One line of the table."""

    what: str
    found: str
    against: str = ""


class Asked(NamedTuple):
    """What is measured, and how much of it."""

    device: torch.device
    small: bool


def equality(asked: Asked) -> Iterator[Row]:
    """Loss, scores and three steps of every gradient model on the device and on the CPU."""
    for entry in MODELS.entries():
        if not entry.built_in or not issubclass(kind := MODELS.load(entry.name)[1], GradientModel):
            continue
        given = next(i for i in kind.inputs if i != "image")
        apart = [_answers(kind, given, device) for device in (CPU, asked.device)]
        worst = {
            what: max(
                _difference(a, b) for a, b in zip(apart[0][what], apart[1][what], strict=True)
            )
            for what in apart[0]
        }
        told = ", ".join(f"{what} {value:.1e}" for what, value in worst.items())
        verdict = "equal to tolerance" if max(worst.values()) < 1e-3 else "**not equal**"
        yield Row(f"{entry.name}: largest difference to the CPU, relative", told, verdict)


def _answers(kind: Any, given: Any, device: torch.device) -> dict[str, list[Tensor]]:
    settings: dict[str, Any] = {"train.lr": 1e-3}
    config = build(kind.Config, merge([Layer(nested(settings), "benchmark")]), "benchmark")
    task = tiny_task(given, config)
    torch.manual_seed(0)
    # Evaluation mode, since masks of dropout differ between devices.
    model = kind(config, task).to(device).eval()
    x = torch.rand(6, *model.task.feature_shape, generator=torch.Generator().manual_seed(1))
    label = torch.from_numpy(np.resize(np.flatnonzero(model.task.seen), 6))
    with torch.inference_mode():
        found = {
            "loss": list(model.loss(x.to(device), label.to(device)).values()),
            "scores": [model.scores(x.to(device))],
        }
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        take_step(model, model.loss, x, label, len(x), device)
        optimizer.step()
    found["three steps"] = [p.detach() for p in model.parameters()]
    return {what: [t.float().cpu() for t in tensors] for what, tensors in found.items()}


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max().clamp_min(1e-6))


def resume(asked: Asked) -> Iterator[Row]:
    """A training that stops after its first epoch and goes on, against one that does not stop."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _trained(asked.device, Path(folder) / "whole.pt", stops=False)
        _trained(asked.device, Path(folder) / "parts.pt", stops=True)
        resumed = _trained(asked.device, Path(folder) / "parts.pt", stops=False)
    same = all(torch.equal(whole[k], resumed[k]) for k in whole)
    worst = max(_difference(whole[k].float(), resumed[k].float()) for k in whole)
    yield Row(
        "dedn: resumed training against an uninterrupted one",
        "the same bits" if same else f"largest relative difference {worst:.1e}",
    )


class _Stop:
    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        return epoch == 1


def _trained(device: torch.device, path: Path, stops: bool) -> dict[str, Tensor]:
    config = DEDNConfig(train={"epochs": 3, "batch_size": 16, "lr": 1e-3})  # type: ignore[arg-type]
    data = tiny_dataset()
    inputs = tiny_inputs(data, "map")
    model = make_model(DEDN, config, data, inputs, 0, device)
    fit(
        model,
        data,
        inputs,
        Loop(
            seed=0,
            device=device,
            reporter=Silent(),
            log=lambda **_: None,
            checkpoint_path=path,
            observer=_Stop() if stops else None,
        ),
        withholds=False,
    )
    return {k: v.detach().cpu() for k, v in model.state_dict().items()}


def steps(asked: Asked) -> Iterator[Row]:
    """A step of DEDN at each size: eager and compiled, in each precision, against the plain
    form."""
    for name, size in (SMALL if asked.small else SIZES).items():
        yield from _steps(name, size, asked)


def _steps(name: str, size: Size, asked: Asked) -> Iterator[Row]:
    device = asked.device
    torch.manual_seed(0)
    clusters = "single" if asked.small else "paper"
    config = DEDNConfig(clusters=clusters, rank=size.rank)
    ours = DEDN(config, make_task(size)).to(device).train()
    plain = PlainDEDN(ours)
    x = torch.relu(torch.randn(size.batch, size.channels, size.side, size.side, device=device))
    label = torch.randint(size.unseen, size.classes, (size.batch,), device=device)
    eager = _stepper(list(ours.parameters()), lambda: ours.loss(x, label)["total"])
    compiled = _compiled(ours.loss, asked)
    fast = _stepper(list(ours.parameters()), lambda: compiled(x, label)["total"])
    forms: dict[str, tuple[str, Callable[[], None]]] = {
        "plain, float32": ("float32", _stepper(plain.parameters(), lambda: plain.loss(x, label))),
        "float32": ("float32", eager),
        "TF32": ("TF32", eager),
        "bfloat16": ("bfloat16", eager),
        "compiled, TF32": ("TF32", fast),
        "compiled, bfloat16": ("bfloat16", fast),
    }
    if device.type != "cuda":  # TF32 is a matter of CUDA
        forms = {name: form for name, form in forms.items() if "TF32" not in name}
    found = {form: _in_precision(how, device, work, asked) for form, (how, work) in forms.items()}
    base = found["plain, float32"][0]
    for form, (seconds, peak) in found.items():
        rate = product_rate(forms[form][0], device, asked.small)
        floor = flops(size) / rate
        yield Row(
            f"step, {name}, {form}",
            f"{1e3 * seconds:.2f} ms" + (f", peak {peak:.0f} MB above the model" if peak else ""),
            f"{base / seconds:.1f} x the plain form; {seconds / floor:.1f} x the floor of "
            f"{1e3 * floor:.2f} ms at {rate / 1e12:.1f} TFLOP/s",
        )


def _stepper(parameters: list[Tensor], loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.RMSprop(parameters, lr=1e-6, weight_decay=1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _compiled(work: Callable[..., Any], asked: Asked) -> Callable[..., Any]:
    # Small, only the graph is tried, since the compiler takes a minute for each.
    made: Callable[..., Any] = torch.compile(work, backend="eager" if asked.small else "inductor")
    return made


@contextmanager
def precision(how: str, device: torch.device) -> Iterator[None]:
    """Products in float32, TF32 or bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if how == "TF32" else "highest")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=how == "bfloat16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _in_precision(
    how: str, device: torch.device, step: Callable[[], None], asked: Asked
) -> tuple[float, float]:
    """Seconds of a step, the median of blocks, and MB at the peak above what was there before.

    The peak is 0 where torch does not count memory, that is, without CUDA.
    """
    count, blocks = (1, 2) if asked.small else (10, 5)
    with precision(how, device):
        for _ in range(2):
            step()
        seconds = [timed(lambda: [step() for _ in range(count)], device) for _ in range(blocks)]
        if device.type != "cuda":
            return statistics.median(seconds) / count, 0.0
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        peak = torch.cuda.max_memory_allocated(device) - before
    return statistics.median(seconds) / count, peak / 1e6


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the work, until the device has done it."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def product_rate(how: str, device: torch.device, small: bool) -> float:
    """Flop/s of a large matrix product."""
    side = 256 if small else 8192
    dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    with precision("TF32" if how == "TF32" else "float32", device):
        return 2 * side**3 / min(timed(lambda: a @ b, device) for _ in range(6))


def extraction(asked: Asked) -> Iterator[Row]:
    """Images per second of the feature store, and of the bare network on inputs that are there."""
    name, side, count = ("resnet18", 64, 8) if asked.small else ("resnet101", 448, 512)
    device = asked.device
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    for how in ("float32", "bfloat16"):
        settings = FeatureConfig(backbone=name, weights="random", size=side, precision=how)  # type: ignore[arg-type]
        backbone = load_backbone(settings)
        network = backbone.build().eval().to(device, memory_format=torch.channels_last)
        x = torch.rand(min(64, count), 3, side, side, device=device)
        x = x.contiguous(memory_format=torch.channels_last)
        rates = {}
        for form, passed in (("eager", network), ("compiled", _compiled(network, asked))):
            with torch.inference_mode(), precision(how, device):
                passed(x)
                rates[form] = len(x) / min(timed(partial(passed, x), device) for _ in range(3))
        with tempfile.TemporaryDirectory() as folder, _cache(folder):
            store = partial(open_store, "benchmark", ArrayImages(pixels), backbone, "float16")
            seconds = timed(partial(store, device, Silent(), precision=how), device)
        yield Row(
            f"extraction, {name} at {side} px, {how}",
            f"{count / seconds:.0f} images/s with start-up",
            f"bare network {rates['eager']:.0f} images/s, compiled {rates['compiled']:.0f}",
        )


@contextmanager
def _cache(folder: str) -> Iterator[None]:
    import os

    before = os.environ.get("ZSLKIT_CACHE")
    os.environ["ZSLKIT_CACHE"] = folder
    try:
        yield
    finally:
        os.environ.pop("ZSLKIT_CACHE")
        if before is not None:
            os.environ["ZSLKIT_CACHE"] = before


class _Maps:
    """Made-up maps (N, D, side, side) in float16; 256 different ones, again and again."""

    def __init__(self, size: Size, count: int) -> None:
        rng = np.random.default_rng(0)
        shape = (min(256, count), size.channels, size.side, size.side)
        self._maps = torch.from_numpy(rng.random(shape, dtype=np.float32)).half()
        self.labels = rng.integers(size.unseen, size.classes, count)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: np.ndarray) -> Tensor:
        return self._maps[torch.from_numpy(index % len(self._maps))].float()


class _Stored(_Maps):
    def stored(self, index: np.ndarray) -> Tensor:
        return self._maps[torch.from_numpy(index % len(self._maps))]


class _Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def take(self, **line: Any) -> None:
        self.lines.append(line)


def training(asked: Asked) -> Iterator[Row]:
    """DEDN by the harness's loop on made-up CUB features, kept on the device and streamed to it."""
    size = SMALL["small"] if asked.small else SIZES["cub"]
    count = 32 if asked.small else 7057
    for form, kind in (("streamed", _Maps), ("resident", _Stored)):
        if form == "resident" and asked.device.type != "cuda":
            yield Row("training, resident", "left out: only accelerators keep inputs")
            continue
        torch.manual_seed(0)
        config = DEDNConfig(
            clusters="single" if asked.small else "paper",
            train={"epochs": 2, "batch_size": size.batch, "precision": "bfloat16"},  # type: ignore[arg-type]
        )
        model = DEDN(config, make_task(size)).to(asked.device)
        log = _Log()
        if asked.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(asked.device)
        Loop(seed=0, device=asked.device, reporter=Silent(), log=log.take).train(
            model, kind(size, count)
        )  # type: ignore[arg-type]
        done = max(1, count // size.batch)
        peak = (
            f", peak {torch.cuda.max_memory_allocated(asked.device) / 1e9:.1f} GB"
            if asked.device.type == "cuda"
            else ""
        )
        yield Row(
            f"training, {form}, {count} maps, bfloat16, second epoch",
            f"{1e3 * log.lines[-1]['seconds'] / done:.2f} ms a step{peak}",
            f"first epoch {1e3 * log.lines[0]['seconds'] / done:.2f} ms a step",
        )
