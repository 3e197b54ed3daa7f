"""Opening a res101.mat of AWA2's full size (37322 x 2048 float64): the first time, converted, and
every time after.

    python benchmarks/open_pooled.py [--compressed] [--json]

The file is made up with scipy (--compressed: as MATLAB's -v7 does) and lies in a temporary folder.
Each opening is a
process of its own that loads the dataset through the registry; anonymous memory (RssAnon) is looked
at 50 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SHARED = Path(os.environ.get("ZSLKIT_SHARED") or Path(__file__).parents[2] / "shared")
LOAD = """
import time
from pathlib import Path
from zslkit.datasets.xlsa17 import AWA2
began = time.perf_counter()
dataset = AWA2().load("awa2", Path("."))
print(time.perf_counter() - began, dataset.features.shape, dataset.features_digest)
"""


def make(root: Path, compressed: bool) -> Path:
    """xlsa17/data/AWA2 below root, with the real splits and made-up features."""
    from scipy.io import loadmat, savemat

    home = root / "xlsa17" / "data" / "AWA2"
    home.mkdir(parents=True)
    shutil.copy(SHARED / "data" / "xlsa17" / "data" / "AWA2" / "att_splits.mat", home)
    splits = loadmat(home / "att_splits.mat")
    classes = [str(c[0][0]) for c in splits["allclasses_names"]]
    rng = np.random.default_rng(0)
    labels = np.zeros(37322, np.int64)
    unseen = splits["test_unseen_loc"].ravel() - 1
    ten = np.arange(40, 50)
    labels[:] = rng.integers(0, 40, len(labels))
    labels[splits["trainval_loc"].ravel()[:40] - 1] = np.arange(40)
    labels[unseen] = ten[np.arange(len(unseen)) % 10]
    files = np.array(
        [
            [f"/BS/x/Animals_with_Attributes2/JPEGImages/{classes[k]}/{i}.jpg"]
            for i, k in enumerate(labels)
        ],
        dtype=object,
    )
    features = np.maximum(rng.standard_normal((2048, len(labels)), dtype=np.float32), 0).astype(
        np.float64
    )
    variables = {
        "features": features,
        "labels": (labels + 1)[:, None].astype(np.float64),
        "image_files": files,
    }
    savemat(home / "res101.mat", variables, do_compression=compressed)
    return home / "res101.mat"


def watched(root: Path, cache: Path) -> dict[str, float | str]:
    """Load once in a process of its own: its seconds, and its peak of anonymous memory in MB."""
    environment = {**os.environ, "ZSLKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    )
    peak = 0

    def look() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            peak = max(
                [peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))]
            )
            time.sleep(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    said = process.communicate()[0].split(maxsplit=1)
    thread.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return {
        "load_s": round(float(said[0]), 2),
        "process_s": round(time.perf_counter() - began, 2),
        "peak_anonymous_mb": round(peak * 1024 / 1e6),
        "held": said[1].strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compressed", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = make(root, options.compressed)
        rows = {
            "file_mb": round(file.stat().st_size / 1e6),
            "first": watched(root, root / "cache"),
            "again": watched(root, root / "cache"),
        }
    if options.json:
        print(json.dumps(rows))
    else:
        for name, row in rows.items():
            print(f"{name}: {row}")


if __name__ == "__main__":
    main()
