"""`zslkit data import` on a made-up HDF5 cache of several GB: seconds, and anonymous memory of the
command and of its reader.

    python benchmarks/import_features.py [--images N] [--compressed] [--dtype
    float16|bfloat16|float32] [--folder DIR]

The maps are (N, 2048, 14, 14) float32, 1.6 MB each; the file lies in a temporary folder below
--folder and is deleted. RssAnon of the
process and of its child are looked at 20 times a second; what is printed is the largest sum of both
at one time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

CLASSES, SEEN, ATTRIBUTES = 50, 40, 85


def make(path: Path, images: int, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(images) % CLASSES
    unseen, held = labels >= SEEN, np.arange(images) // CLASSES % 5 == 0
    with h5py.File(path, "w") as file:
        shape = (images, 2048, 14, 14)
        maps = file.create_dataset(
            "feature_map",
            shape,
            "f4",
            **({"compression": "gzip", "compression_opts": 1} if compressed else {}),
        )
        block = np.maximum(rng.standard_normal((64, *shape[1:]), dtype=np.float32), 0)
        for start in range(0, images, 64):
            maps[start : start + 64] = block[: images - start]
        attributes = rng.random((CLASSES, ATTRIBUTES))
        small = {"labels": labels, "trainval_loc": np.flatnonzero(~unseen & ~held)}
        small |= {
            "test_seen_loc": np.flatnonzero(~unseen & held),
            "test_unseen_loc": np.flatnonzero(unseen),
        }
        small |= {
            "original_att": attributes,
            "att": attributes,
            "w2v_att": rng.standard_normal((ATTRIBUTES, 300)).astype("f4"),
        }
        for name, values in small.items():
            file[name] = values


def anonymous_kb(pid: int) -> int:
    """RssAnon of a process and its children, in kB."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return total
    return total + sum(anonymous_kb(int(child)) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--compressed", action="store_true")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "made-up.hdf5"
        make(file, options.images, options.compressed)
        print(
            f"file: {file.stat().st_size / 1e9:.2f} GB, {options.images} maps of 2048 x 14 x 14 "
            "float32",
            flush=True,
        )
        command = [
            sys.executable,
            "-m",
            "zslkit",
            "data",
            "import",
            str(file),
            "--out",
            f"{folder}/made-up",
            "--dtype",
            options.dtype,
        ]
        began, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            peak = max(peak, anonymous_kb(process.pid))
            time.sleep(0.05)
        print(
            f"seconds: {time.perf_counter() - began:.1f}; peak anonymous memory: "
            f"{peak * 1024 / 1e6:.0f} MB; exit {process.returncode}"
        )


if __name__ == "__main__":
    main()
