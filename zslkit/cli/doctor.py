"""`zslkit doctor`: does everything work here, and what to do where it does not?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zslkit.cli import machine
from zslkit.cli.check import checked
from zslkit.cli.failure import tell
from zslkit.cli.listing import ListingLine, contract_rule, lines
from zslkit.cli.machine import Finding, fault, note, ok
from zslkit.cli.options import data_root_option, flag
from zslkit.cli.output import print_columns, print_json, size_words
from zslkit.cli.verb import verb
from zslkit.registry import DATASETS, MODELS, TRACKERS

if TYPE_CHECKING:
    from zslkit.dataset import DatasetSource


@verb(example="zslkit doctor --quick")
@data_root_option
@flag("--quick", "Read the plugins' sources only; import none of them.")
def doctor(data_root: Path, quick: bool, as_json: bool) -> int:
    """Test this machine and installation: Python, devices, plugins, data, disk. Changes nothing.

    Use it after installing, or when something fails. It imports every plugin, as zslkit models
    --check does; to test one model's code, use zslkit check; one dataset's files, zslkit data
    verify. Exit code 1 if something that must work does not; a note is something missing or slow.
    """
    from zslkit.utils.progress import reporter_for

    reporter = reporter_for()
    found = [*machine.python(), *machine.packages()]
    if not any(f.verdict == "fault" for f in found):
        with reporter.phase("torch and timm"):
            found += [*machine.torch_works(), *machine.timm_works()]
        own = "load every model and dataset in a process of its own"
        with reporter.phase("models and datasets" if quick else own):
            listed = [*lines(MODELS, contract_rule), *lines(DATASETS), *lines(TRACKERS)]
            listed = listed if quick else checked(listed)  # some faults stay hidden without it
            found += _plugins(listed)
        with reporter.phase("data and disk"):
            sources = list(_sources(listed, quick))
            found += [*_data(data_root, sources), *_disk(data_root, sources)]
    faults = sum(f.verdict == "fault" for f in found)
    if as_json:
        print_json({"faults": faults, "findings": [asdict(f) for f in found]})
        return int(faults > 0)
    rows = [(f.name, f.verdict, f"{f.text}{f'. {f.advice}' if f.advice else ''}") for f in found]
    print_columns(("what", "verdict", "found, and what to do"), rows)
    notes = sum(f.verdict == "note" for f in found)
    verdict = f"{faults} things do not work" if faults else "Everything that must work works"
    tell(f"{verdict}; {notes} notes")
    return int(faults > 0)


def _plugins(found: Sequence[ListingLine]) -> Iterator[Finding]:
    needed = [line for line in found if line.entry.point.group != TRACKERS.group]
    good = [line.entry.name for line in needed if not line.fault]
    text = f"{len(good)} of {len(needed)} can be used: {', '.join(good)}"
    yield Finding("models, datasets", "ok" if good else "fault", text)
    for line in found:
        # Entries of this project must work; a stranger's broken package is that package's affair.
        text = f"cannot be used ({line.entry.target}): {line.fault}"
        if line.fault and line.entry.built_in:
            yield fault(line.pick, text, "Install zslkit again")
        elif line.fault:
            mend = f"Mend or uninstall {line.entry.distribution}; everything else works without it"
            yield note(line.pick, text, mend)
        elif line.remark:
            yield note(line.pick, line.remark)


def _sources(found: Sequence[ListingLine], quick: bool) -> Iterator[tuple[str, DatasetSource]]:
    """The datasets that load, by name. A stranger's is imported here only after it was tried in a
    process of its own."""
    for line in found:
        tried = line.entry.built_in or not quick
        if line.entry.point.group == DATASETS.group and not line.fault and tried:
            with suppress(Exception):  # it loaded before; whoever uses it tells what it does now
                yield line.entry.name, DATASETS.load(line.pick)[1]()


def _data(root: Path, sources: Sequence[tuple[str, DatasetSource]]) -> Iterator[Finding]:
    from zslkit.cli.data.places import look

    if not root.is_dir():
        yield note(
            "data",
            f"there is no folder {root}",
            "Say where the data is with --data-root; digits needs none",
        )
    for name, source in sources:
        places = look(source.looks_for(root), measure=False)
        there = ", ".join(p.what for p in places if p.there)
        missing = ", ".join(p.what for p in places if not p.there)
        if not places:
            yield ok(f"data: {name}", "needs no files, as far as it says")
        elif not missing:
            yield ok(f"data: {name}", f"found: {there}")
        else:
            text = f"missing: {missing}{f'; found: {there}' if there else ''}"
            yield note(f"data: {name}", text, f"zslkit data info {name} says where each goes")


def _disk(root: Path, sources: Sequence[tuple[str, DatasetSource]]) -> Iterator[Finding]:
    from zslkit.acquire.cache import belongs, contents
    from zslkit.utils.files import cache_root

    cache = cache_root()
    held = contents(cache)
    free, writable = machine.room(cache)
    size = size_words(sum(i.size for i in held))
    text = f"{cache}: {len(held)} items, {size}; {size_words(free)} free"
    if writable:
        yield ok("cache", text)
    else:
        yield fault(
            "cache",
            f"{text}; it cannot be written",
            "Set ZSLKIT_CACHE to a folder that can be written",
        )
    for name, source in sources:
        if not {"photos", "images"} & set(source.looks_for(root)):
            continue
        need, text = _need(name, source)
        if need is None:
            continue
        text = f"{size_words(need)} for {text}, {size_words(free)} free"
        if any(item.kind == "store" and belongs(item.name, name) for item in held):
            yield ok(f"disk: {name}", f"{text}; a store is there already")
        elif need > free:
            yield note(
                f"disk: {name}",
                text,
                "Make room (zslkit data clean), or set ZSLKIT_CACHE to a larger disk",
            )
        else:
            yield ok(f"disk: {name}", text)


def _need(name: str, source: DatasetSource) -> tuple[int | None, str]:
    """Bytes of a dataset's store under its own defaults, and what they hold; None where counts or
    image size are not known."""
    from zslkit.config import FeatureConfig, build
    from zslkit.config.merge import Settings
    from zslkit.features.extract import store_bytes

    config = build(FeatureConfig, Settings(dict(source.defaults)), name)
    if "images" not in source.counts or config.size is None or config.size == "own":
        return None, ""
    height, width = (config.size, config.size) if isinstance(config.size, int) else config.size
    need = store_bytes(source.counts["images"], config, height, width)
    return need, f"maps of {config.backbone} at {height}x{width} px in {config.dtype}"
