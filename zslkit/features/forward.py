"""Forward pass of images through a frozen backbone, with decoding and network in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslkit.dataset import Images, Index
from zslkit.errors import DataError
from zslkit.features.augment import CENTRE, Cut
from zslkit.features.backbones import Transform
from zslkit.utils.memory import in_halves

Precision = Literal["float32", "bfloat16"]
T = TypeVar("T")

STREAMS = 16
"""Limit of networks that run in parallel on a CPU; each holds the activations of a batch."""

# Autocast converts the weights of these layers for every batch; here they are converted once.
_AUTOCAST = ("Conv2d", "Conv2dSame", "Linear")


class NotOpened(DataError):
    """An image cannot be read; distinct from all other faults of data."""


def pixels_of(
    images: Images, transform: Transform, index: int, cut: Cut = CENTRE
) -> NDArray[np.uint8]:
    """Resized and cropped pixels (h, w, 3) uint8; raises NotOpened if the image cannot be read."""
    try:
        image = images.open(index)
    except DataError as error:
        raise NotOpened(str(error)) from error
    return transform.pixels(image, cut)


def frozen(network: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """Prepare a network for inference on `device`; changes it in place.

    Weights are stored channels last, which the fast convolutions of CPUs and GPUs need.
    """
    network.eval().requires_grad_(False)
    if precision == "bfloat16":
        for layer in network.modules():
            if type(layer).__name__ in _AUTOCAST:
                layer.bfloat16()
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def forward(network: nn.Module, inputs: Tensor, precision: Precision) -> Tensor:
    """Feature maps (B, D, H, W) float32 of inputs (B, 3, h, w), both on the device of the network.

    The network comes from `frozen` and computes in `precision`.
    """
    with (
        torch.inference_mode(),
        torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        return in_halves(network, inputs).float()


def passed(
    images: Images,
    transform: Transform,
    network: nn.Module,
    batches: list[Index],
    device: torch.device,
    precision: Precision,
    finish: Callable[[Tensor], T],
) -> Generator[tuple[Index, T], None, None]:
    """Pass batches of image indices through a network from `frozen`, in order.

    On a CPU, each thread takes a batch from file to result, so that no thread waits for another
    within a layer; at most torch.get_num_threads() threads are busy. On other devices, the next
    batches are decoded ahead.

    Yields:
        The indices of a batch and the result of `finish`, a function of its feature maps
        (B, D, H, W), float32 on the CPU.
    """
    if device.type != "cpu":
        for index, inputs in decoded(images, transform, batches, device):
            yield index, finish(forward(network, inputs, precision).cpu())
        return

    def work(index: Index) -> T:
        pixels = _stacked(images, index, [pixels_of(images, transform, int(i)) for i in index])
        inputs = transform.normalise(torch.from_numpy(pixels))
        return finish(forward(network, inputs, precision))

    threads = torch.get_num_threads()
    streams = min(threads, STREAMS)
    # torch stores the number of threads for each calling thread, so the caller's is unchanged.
    pool = ThreadPoolExecutor(
        streams, initializer=torch.set_num_threads, initargs=(max(1, threads // streams),)
    )
    waiting: deque[tuple[Index, Future[T]]] = deque()
    try:
        for index in batches:
            waiting.append((index, pool.submit(work, index)))
            if len(waiting) > 2 * streams:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def decoded(
    images: Images, transform: Transform, batches: list[Index], device: torch.device
) -> Iterator[tuple[Index, Tensor]]:
    """Decode batches of inputs (B, 3, h, w) in threads, two batches ahead."""
    with (
        ThreadPoolExecutor(max_workers=1) as ahead,
        ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool,
    ):
        queue = [ahead.submit(_stack, images, transform, b, pool) for b in batches[:2]]
        try:
            for i, index in enumerate(batches):
                pixels = queue.pop(0).result()
                if i + 2 < len(batches):
                    queue.append(ahead.submit(_stack, images, transform, batches[i + 2], pool))
                inputs = transform.normalise(pixels.to(device))
                yield index, inputs.contiguous(memory_format=torch.channels_last)
        finally:
            for future in queue:
                with suppress(Exception):
                    future.cancel()


@dataclass(frozen=True)
class ImageInputs:
    """Images as inputs (B, 3, h, w) float32 of a trainable backbone, decoded on request."""

    images: Images
    transform: Transform

    def batch(self, index: Index) -> Tensor:
        return self.cut(index, [CENTRE] * len(index))

    def cut(self, index: Index, cuts: Sequence[Cut]) -> Tensor:
        """Inputs, each cut as `cuts` says."""
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            pixels = _stack(self.images, self.transform, index, pool, cuts)
            return self.transform.normalise(pixels)


def _stack(
    images: Images,
    transform: Transform,
    index: Index,
    pool: ThreadPoolExecutor,
    cuts: Sequence[Cut] | None = None,
) -> Tensor:
    cuts = cuts or [CENTRE] * len(index)
    pixels = list(pool.map(lambda i, cut: pixels_of(images, transform, int(i), cut), index, cuts))
    return torch.from_numpy(_stacked(images, index, pixels))


def _stacked(images: Images, index: Index, pixels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Stack pixels to (B, h, w, 3); raises DataError, which names two images of different sizes."""
    for i, p in zip(index, pixels, strict=True):
        if p.shape != pixels[0].shape:
            raise DataError(
                f"{images.key(int(i))} is {p.shape[1]}x{p.shape[0]} pixels and "
                f"{images.key(int(index[0]))} is {pixels[0].shape[1]}x{pixels[0].shape[0]}; set "
                "features.size to bring all images to one size"
            )
    return np.stack(pixels)
