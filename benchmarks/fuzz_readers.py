"""Spoilt files for every reader of strangers' files: how many were tried, read, refused, and the
slowest.

    python benchmarks/fuzz_readers.py [--seconds S] [--reader NAME]... [--seed N]

Valid files are changed as tests/spoilt.py says (`random_changes`); each reader gets the whole file
first, which it must read. An input passes if it is read, or refused by a DataError of one line that
names the file; anything else ends the script with the input kept. HDF5 files are read by a forked
copy of a warm process in the place of a new one, which is the same code under the same limits and
leaves time for many more inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from spoilt import SEEDS, mutate, random_changes

from zslkit.errors import DataError
from zslkit.readers import hdf5, hdf5_child


class Forked:
    """Stands for subprocess.Popen of the HDF5 reader."""

    def __init__(self, command: list[str], **_: Any) -> None:
        reading, writing = os.pipe()
        stdin, self._stdin = os.pipe()  # its end tells the reader that nobody waits for it
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            os.close(self._stdin)
            os.dup2(stdin, 0)
            sys.stdout = io.TextIOWrapper(os.fdopen(writing, "wb"))
            with contextlib.suppress(BaseException):
                path, *names = command[-4:]
                hdf5_child.main(path, *map(hdf5.json.loads, names))
                sys.stdout.flush()
            os._exit(0)
        os.close(writing)
        os.close(stdin)
        self.stdout = os.fdopen(reading, "rb")
        self.status: int | None = None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> None:
        self.stdout.close()
        os.close(self._stdin)
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]


def fuzz(reader: str, seconds: float, first_seed: int) -> dict[str, Any]:
    """Inputs for one reader until the seconds are over."""
    name, make, read = SEEDS[reader]
    content = make()
    counts = {"tried": 0, "read": 0, "refused": 0}
    broke, slowest = 0, 0.0
    file = Path(tempfile.mkdtemp()) / name
    file.write_bytes(content)
    read(file)
    rng = random.Random(f"{first_seed} {reader}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        file.write_bytes(mutate(content, random_changes(rng, len(content))))
        began = time.monotonic()
        counts["tried"] += 1
        try:
            read(file)
            counts["read"] += 1
        except DataError as error:
            assert str(file) in str(error) and "\n" not in str(error), str(error)
            counts["refused"] += 1
            broke += "broke down" in str(error)
        slowest = max(slowest, time.monotonic() - began)
    file.unlink()
    file.parent.rmdir()
    return {**counts, "reader_died": broke, "slowest_s": round(slowest, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--reader", action="append", choices=list(SEEDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, about what it then refuses
    import h5py  # noqa: F401  warm before it is forked

    hdf5.subprocess.Popen = Forked  # type: ignore[misc,assignment]
    total = 0
    print(f"{'reader':<16}{'tried':>8}{'read':>8}{'refused':>9}{'died':>6}{'slowest s':>11}")
    for reader in options.reader or SEEDS:
        row = fuzz(reader, options.seconds, options.seed)
        total += row["tried"]
        print(
            f"{reader:<16}{row['tried']:>8}{row['read']:>8}{row['refused']:>9}{row['reader_died']:>6}{row['slowest_s']:>11}",
            flush=True,
        )
    print(f"{'all':<16}{total:>8}")


if __name__ == "__main__":
    main()
