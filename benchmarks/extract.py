"""Feature extraction beside the bare timm network: images per second, their ratio, and what
decoding takes of it.

    python benchmarks/extract.py [--data-root DIR] [--images N] [--rounds N] [--threads N] [--json]

The bare network is timm's, in evaluation mode under torch.inference_mode, on tensors that lie ready
in memory; it decodes nothing
and keeps nothing. It runs as float32 contiguous, float32 channels last, and bfloat16 autocast
channels last, with 4, 8 and 32
images at once (contiguous only with 8, since larger batches slow it down most). Against it stands
the whole of open_store on a
store that is not there yet: files, decoding, transform, network, feature store on disk. Its
start-up, which a few hundred photos
cannot pay for and a dataset does not notice, is measured in the same round as the store of a single
photo, given as
start_seconds, and taken off.

Photos are those of cub2010 below --data-root, else JPEGs that are made up. All settings take turns
in one process, in a new order
each round; medians over the rounds are compared, and the ratio is the median of the ratios within a
round, so that whatever else
the machine does falls on both sides. Seconds of the processor are given too: they know less of the
neighbours than the clock does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslkit.config import FeatureConfig
from zslkit.features.backbones import Backbone, load_backbone
from zslkit.features.extract import open_store
from zslkit.readers.images import FileImages
from zslkit.utils.progress import Silent

NAME = "tf_efficientnet_lite0"
CPU = torch.device("cpu")


def photos(root: Path, count: int, beside: Path) -> tuple[FileImages, str]:
    """`count` photos of 224 px, spread over the classes, and what they are."""
    home = root / "cub200_2010" / "images"
    paths = sorted(p.relative_to(home).as_posix() for p in home.glob("*/*.jpg"))
    if len(paths) >= count:
        return FileImages(
            home, [paths[i] for i in np.linspace(0, len(paths) - 1, count).astype(int)]
        ), "CUB-200-2010, 224 px"
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):  # coarse noise, enlarged: about as many bytes as a photo
        Image.fromarray(rng.integers(0, 256, (56, 56, 3), dtype=np.uint8)).resize((224, 224)).save(
            beside / f"{i:05d}.jpg", quality=90
        )
    return FileImages(beside, [f"{i:05d}.jpg" for i in range(count)]), "made-up JPEGs, 224 px"


def bare(backbone: Backbone, inputs: torch.Tensor, kind: str, batch: int) -> Callable[[], None]:
    """timm's network over the inputs, from the first batch to the last."""
    import timm

    network = timm.create_model(NAME).eval()
    network.load_state_dict(backbone.state)
    if kind != "float32 contiguous":
        network = network.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    parts = inputs.split(batch)

    def run() -> None:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=kind.startswith("bfloat16")),
        ):
            for part in parts:
                network.forward_features(part)

    return run


def whole(
    backbone: Backbone, images: FileImages, precision: Any, cache: Path
) -> Callable[[], None]:
    """The extraction of a store that is not there yet."""

    def run() -> None:
        shutil.rmtree(cache / "features", ignore_errors=True)
        open_store("benchmark", images, backbone, "float16", CPU, Silent(), precision=precision)

    return run


def decoding(backbone: Backbone, images: FileImages) -> Callable[[], None]:
    """Files to inputs and nothing else, on one core."""

    def run() -> None:
        for start in range(0, len(images), 8):
            pixels = [
                backbone.transform.pixels(images.open(i))
                for i in range(start, min(start + 8, len(images)))
            ]
            backbone.transform.normalise(torch.from_numpy(np.stack(pixels)))

    return run


def measure(
    jobs: dict[str, Callable[[], None]], count: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Job -> images per second of the clock, and milliseconds of the processor for an image, one
    figure a round."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    order = random.Random(0)
    for job in jobs.values():  # compiled kernels, page cache, threads
        job()
    for turn in range(rounds):
        for name in order.sample(list(jobs), len(jobs)):
            wall, cpu = time.perf_counter(), time.process_time()
            jobs[name]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found[name]["images_per_second"].append(count / wall)
            found[name]["cpu_ms"].append(cpu / count * 1e3)
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def without_start(found: dict[str, dict[str, list[float]]], precision: str, count: int) -> None:
    """Take the store of one image off the store of all, in each round."""
    ours, start = found[f"extraction, {precision}"], found.pop(f"start-up, {precision}")
    seconds = [count / v for v in start["images_per_second"]]
    ours["images_per_second"] = [
        (count - 1) / (count / v - s)
        for v, s in zip(ours["images_per_second"], seconds, strict=True)
    ]
    pairs = zip(ours["cpu_ms"], start["cpu_ms"], strict=True)
    ours["cpu_ms"] = [(all_ms - one_ms) * count / (count - 1) for all_ms, one_ms in pairs]
    ours["start_seconds"] = seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZSLKIT_CACHE"] = folder
        images, kind_of_photos = photos(given.data_root, given.images, Path(folder))
        backbone = load_backbone(FeatureConfig(backbone=NAME))
        inputs = backbone.transform.normalise(
            torch.from_numpy(
                np.stack([backbone.transform.pixels(images.open(i)) for i in range(len(images))])
            )
        ).contiguous()
        kinds = ("float32 contiguous", "float32 channels last", "bfloat16 autocast channels last")
        jobs = {
            f"bare, {kind}, batch {b}": bare(backbone, inputs, kind, b)
            for kind in kinds
            for b in (4, 8, 32)
            if kind != kinds[0] or b == 8
        }
        jobs |= {
            f"extraction, {p}": whole(backbone, images, p, Path(folder))
            for p in ("float32", "bfloat16")
        }
        one = FileImages(images.root, images.paths[:1])
        jobs |= {
            f"start-up, {p}": whole(backbone, one, p, Path(folder)) for p in ("float32", "bfloat16")
        }
        jobs["decoding and transform, one core"] = decoding(backbone, images)
        found = measure(jobs, len(images), given.rounds)

    for precision in ("float32", "bfloat16"):
        without_start(found, precision, len(images))
    middle = {
        name: {k: statistics.median(v) for k, v in figures.items()}
        for name, figures in found.items()
    }
    ratios: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        ours = f"extraction, {precision}"
        for label, prefix in (
            ("the same precision", f"bare, {precision}"),
            ("any precision", "bare,"),
        ):
            best = max(
                (n for n in jobs if n.startswith(prefix)),
                key=lambda n: middle[n]["images_per_second"],
            )
            pairs = zip(
                found[ours]["images_per_second"], found[best]["images_per_second"], strict=True
            )
            cpu = zip(found[best]["cpu_ms"], found[ours]["cpu_ms"], strict=True)
            ratios[f"{precision} against {label}"] = {
                "reference": best,
                "ratio": statistics.median(a / b for a, b in pairs),
                "cpu_ratio": statistics.median(a / b for a, b in cpu),
            }
    decode = middle["decoding and transform, one core"]["cpu_ms"]
    share = {p: decode / middle[f"extraction, {p}"]["cpu_ms"] for p in ("float32", "bfloat16")}
    result = {
        "photos": kind_of_photos,
        "images": given.images,
        "rounds": given.rounds,
        "threads": given.threads,
        "bfloat16_units": torch.cpu._is_avx512_bf16_supported()
        if hasattr(torch.cpu, "_is_avx512_bf16_supported")
        else None,
        "load": os.getloadavg()[0],
        "medians": middle,
        "ratios": ratios,
        "decode_share": share,
    }
    if given.json:
        print(json.dumps(result, indent=1))
        return
    print(
        f"{NAME}, {given.images} photos ({kind_of_photos}), {given.threads} threads, "
        f"{given.rounds} rounds, load {result['load']:.1f}"
    )
    for name, figures in middle.items():
        print(
            f"{name:<50} {figures['images_per_second']:7.1f} images/s {figures['cpu_ms']:7.2f} ms "
            "of processor an image"
        )
    for name, figures in ratios.items():
        print(
            f"{name}: {figures['ratio']:.2f} times the images per second of "
            f"{figures['reference']}, "
            f"{figures['cpu_ratio']:.2f} times per second of processor time"
        )
    print(
        "decoding and transform, of the extraction: "
        + ", ".join(f"{100 * v:.0f} % ({p})" for p, v in share.items())
    )


if __name__ == "__main__":
    main()
