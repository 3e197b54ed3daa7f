"""`zslkit doctor`: does everything work here, and what to do where it does not?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zslkit.cli import machine
from zslkit.cli.failure import tell
from zslkit.cli.listing import DATASETS, MODELS, TRACKERS, ListingLine, contract_rule, lines
from zslkit.cli.machine import Finding
from zslkit.cli.options import data_root_option, debug_option, json_option
from zslkit.cli.output import print_columns, print_json, size_words
from zslkit.cli.verb import Verb

if TYPE_CHECKING:
    from zslkit.dataset import DatasetSource


@click.command(cls=Verb, example="zslkit doctor --quick")
@data_root_option
@click.option("--quick", is_flag=True, help="Read the plugins' sources only; import none of them.")
@json_option
@debug_option
def doctor(data_root: Path, quick: bool, as_json: bool) -> int:
    """Test this machine and installation: Python, devices, plugins, data, disk. Changes nothing.

    Use it after installing, or when something fails. It imports every plugin, as zslkit models
    --check does; to test one model's code, use zslkit check; one dataset's files, zslkit data
    verify.
    Exit code 1 if something that must work does not; a note is something missing or slow.
    """
    from zslkit.utils.progress import reporter_for

    reporter = reporter_for()
    found = [*machine.python(), *machine.packages()]
    if not any(f.verdict == "fault" for f in found):
        with reporter.phase("torch and timm"):
            found += [*machine.torch_works(), *machine.timm_works()]
        with reporter.phase(
            "models and datasets"
            if quick
            else "load every model and dataset in a process of its own"
        ):
            checked = _checked(quick)
            found += _plugins(checked)
        with reporter.phase("data and disk"):
            sources = list(_sources(checked, quick))
            found += [*_data(data_root, sources), *_disk(data_root, sources)]
    faults = sum(f.verdict == "fault" for f in found)
    if as_json:
        print_json({"faults": faults, "findings": [asdict(f) for f in found]})
        return int(faults > 0)
    rows = [(f.name, f.verdict, f"{f.text}{f'. {f.advice}' if f.advice else ''}") for f in found]
    print_columns(("what", "verdict", "found, and what to do"), rows)
    notes = sum(f.verdict == "note" for f in found)
    tell(
        f"{f'{faults} things do not work' if faults else 'Everything that must work works'}; "
        f"{notes} notes"
    )
    return int(faults > 0)


def _checked(quick: bool) -> list[tuple[ListingLine, str]]:
    """Every model, dataset and tracker with its fault, "" for none. quick: imports none, so that
    some faults stay hidden."""
    found = [*lines(MODELS, contract_rule), *lines(DATASETS), *lines(TRACKERS)]
    if quick:
        return [(line, line.fault) for line in found]
    from zslkit.cli.check import check_all

    verdicts = check_all([line.entry for line in found])
    return [
        (line, line.fault or verdict.fault) for line, verdict in zip(found, verdicts, strict=True)
    ]


def _plugins(checked: Sequence[tuple[ListingLine, str]]) -> Iterator[Finding]:
    needed = [(line, fault) for line, fault in checked if line.entry.point.group != TRACKERS.group]
    good = [line.entry.name for line, fault in needed if not fault]
    yield Finding(
        "models, datasets",
        "ok" if good else "fault",
        f"{len(good)} of {len(needed)} can be used: {', '.join(good)}",
    )
    for line, fault in checked:
        if fault:
            yield _broken(line, fault)
        elif line.remark:
            yield Finding(line.pick, "note", line.remark)


def _sources(
    checked: Sequence[tuple[ListingLine, str]], quick: bool
) -> Iterator[tuple[str, DatasetSource]]:
    """The datasets that load, by name. A stranger's is imported here only after it was tried in a
    process of its own."""
    for line, fault in checked:
        if (
            line.entry.point.group == DATASETS.group
            and not fault
            and (line.entry.built_in or not quick)
        ):
            with suppress(
                Exception
            ):  # it loaded before; what it does now is told by whoever uses it
                yield line.entry.name, DATASETS.load(line.pick)[1]()


def _broken(line: ListingLine, fault: str) -> Finding:
    # Entries of this project must work; a stranger's broken package is that package's affair.
    text = f"cannot be used ({line.entry.target}): {fault}"
    if line.entry.built_in:
        return Finding(line.pick, "fault", text, "Install zslkit again")
    return Finding(
        line.pick,
        "note",
        text,
        f"Mend or uninstall {line.entry.distribution}; everything else works without it",
    )


def _data(root: Path, sources: Sequence[tuple[str, DatasetSource]]) -> Iterator[Finding]:
    from zslkit.cli.data.places import look

    if not root.is_dir():
        yield Finding(
            "data",
            "note",
            f"there is no folder {root}",
            "Say where the data is with --data-root; digits needs none",
        )
    for name, source in sources:
        places = look(source.looks_for(root), measure=False)
        there, missing = (
            [p.what for p in places if p.there],
            [p.what for p in places if not p.there],
        )
        if not places:
            yield Finding(f"data: {name}", "ok", "needs no files, as far as it says")
        elif not missing:
            yield Finding(f"data: {name}", "ok", f"found: {', '.join(there)}")
        else:
            text = f"missing: {', '.join(missing)}" + (
                f"; found: {', '.join(there)}" if there else ""
            )
            yield Finding(
                f"data: {name}", "note", text, f"zslkit data info {name} says where each goes"
            )


def _disk(root: Path, sources: Sequence[tuple[str, DatasetSource]]) -> Iterator[Finding]:
    from zslkit.acquire.cache import belongs, contents
    from zslkit.utils.files import cache_root

    cache = cache_root()
    held = contents(cache)
    free, writable = machine.room(cache)
    text = (
        f"{cache}: {len(held)} items, {size_words(sum(i.size for i in held))}; "
        f"{size_words(free)} free"
    )
    if writable:
        yield Finding("cache", "ok", text)
    else:
        yield Finding(
            "cache",
            "fault",
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
            yield Finding(f"disk: {name}", "ok", f"{text}; a store is there already")
        elif need > free:
            yield Finding(
                f"disk: {name}",
                "note",
                text,
                "Make room (zslkit data clean), or set ZSLKIT_CACHE to a larger disk",
            )
        else:
            yield Finding(f"disk: {name}", "ok", text)


def _need(name: str, source: DatasetSource) -> tuple[int | None, str]:
    """Bytes of a dataset's store under its own defaults, and what they hold; None where counts or
    image size are not known."""
    from zslkit.config import FeatureConfig, build
    from zslkit.config.merge import Settings
    from zslkit.features.extract import store_bytes

    config = build(FeatureConfig, Settings(dict(source.defaults)), name)
    if "images" not in source.counts or config.size is None:
        return None, ""
    if config.size == "own":
        return None, ""
    height, width = (config.size, config.size) if isinstance(config.size, int) else config.size
    need = store_bytes(source.counts["images"], config, height, width)
    return need, f"maps of {config.backbone} at {height}x{width} px in {config.dtype}"
