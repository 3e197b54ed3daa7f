"""`zslkit data verify`: a dataset on disk against what is known of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from zslkit.cli import completers
from zslkit.cli.failure import tell
from zslkit.cli.listing import find_names
from zslkit.cli.numbers import Whole
from zslkit.cli.options import data_root_option, flag
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import verb


@verb(example="zslkit data verify digits")
@click.argument("name", shell_complete=completers.datasets)
@data_root_option
@flag("--skip-images", "Open no image; check lists, labels and tables only.")
@click.option(
    "--limit", type=Whole(min=0), default=10, help="Cases to show for each check; --json has all."
)
def verify(name: str, data_root: Path, skip_images: bool, limit: int, as_json: bool) -> int:
    """Check the files of a registered dataset or of a card NAME.yaml: counts, images, leaks, split.

    Use it before you trust results on a dataset. To test the machine, use zslkit doctor; to test
    a model, zslkit check. Exit code 1 if a check finds a fault; a note needs no repair, but readers
    of results should know it.
    """
    find_names([], name)
    from zslkit.utils.progress import reporter_for
    from zslkit.verify import checklist as checks

    found = checks.verify(name, data_root, reporter_for(), images=not skip_images)
    faults = [check for check in found if check.verdict == "fault"]
    if as_json:
        of = {"dataset": name, "data_root": str(data_root), "faults": len(faults)}
        print_json({**of, "checks": [asdict(check) for check in found]})
        return 1 if faults else 0
    rows: list[tuple[str, str, str]] = []
    for check in found:
        rows.append((check.name, check.verdict, check.text))
        rows += [("", "", f"- {item}") for item in check.items[:limit]]
        if limit and (more := len(check.items) - limit) > 0:
            rows.append(("", "", f"- and {more} more, which --json or --limit shows"))
    print_columns(("check", "verdict", name), rows)
    count = Counter(check.verdict for check in found)
    said = [f"{n} {v}" for v in ("ok", "note", "fault", "skipped") if (n := count[v])]
    tell(", ".join(said))
    return 1 if faults else 0
