"""`zslkit` in a process that kills itself if it is the second of several: `ranks_dying.py WHERE
ARGUMENTS...`.

WHERE: epoch2, when the third epoch begins, or batch40, after forty batches of extraction.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from zslkit.cli.app import main
from zslkit.features import extract
from zslkit.training.loop import GradientTraining


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


where, arguments = sys.argv[1], sys.argv[2:]
if os.environ["RANK"] == "1":
    epoch, stored, batches = GradientTraining._epoch, extract.to_stored, iter(range(40))

    def dying_epoch(self: GradientTraining, *given: Any) -> dict[str, float]:
        if given[0] == 2:
            die()
        return epoch(self, *given)

    def dying_batch(*given: Any) -> Any:
        if next(batches, None) is None:
            die()
        return stored(*given)

    if where == "epoch2":
        GradientTraining._epoch = dying_epoch  # type: ignore[method-assign]
    else:
        extract.to_stored = dying_batch

if __name__ == "__main__":
    sys.exit(main(arguments))
