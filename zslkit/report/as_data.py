"""Comparisons as plain data for JSON, unrounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from zslkit.evaluation.significance import holm
from zslkit.report.badges import badges_of_published
from zslkit.report.block import Block, PickedOnTest, Row, Stat
from zslkit.report.published import Published
from zslkit.report.tables import on_test_notes


def as_json(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """All blocks as plain data, unrounded."""
    return [
        {
            "title": block.title,
            "setting": asdict(block.setting),
            "notes": list(block.notes),
            "rows": [_row_data(row) for row in block.rows],
            "chance": dict(block.chance),
            "published": [published_data(entry) for entry in block.published],
            "sampling": _sampling_data(block),
            "as_papers_do": None
            if block.on_test is None
            else {
                "said": " ".join(on_test_notes(block)),
                "rows": [_on_test_data(row) for row in block.on_test],
            },
        }
        for block in blocks
    ]


def published_data(entry: Published) -> dict[str, Any]:
    """A published row as plain data."""
    return {
        **entry.model_dump(mode="json"),
        "tuned": entry.tuned,
        "confirmed": entry.confirmed,
        "badges": badges_of_published(entry).as_data(),
    }


def _sampling_data(block: Block) -> dict[str, Any] | None:
    if block.sampling is None:
        return None
    sampling = block.sampling
    of_images = [pair.images.p for pair in sampling.pairs]
    pairs = []
    for pair, p, corrected in zip(sampling.pairs, of_images, holm(of_images), strict=True):
        data = asdict(pair)
        data |= data.pop("images")
        data |= {"mcnemar_p": p, "mcnemar_p_holm": corrected}
        data |= {"models": [block.names[k] for k in (pair.a, pair.b)], "seeds": list(pair.seeds)}
        pairs.append({**data, "significant": pair.significant})
    return {
        "resamples": sampling.resamples,
        "seed": sampling.seed,
        "approximated": sampling.approximated,
        "pairs": pairs,
    }


def _stats_data(stats: Mapping[str, Stat | None]) -> dict[str, Any]:
    return {name: asdict(stat) if stat is not None else None for name, stat in stats.items()}


def _on_test_data(row: PickedOnTest) -> dict[str, Any]:
    return {
        "model": row.label,
        "n": row.n,
        "seeds": list(row.seeds),
        "badges": row.made.as_data(),
        "metrics": _stats_data(row.metrics),
        "added": dict(row.added),
        "gamma": None if row.gamma is None else asdict(row.gamma),
        "folders": list(row.folders),
    }


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "variant": row.variant,
        "origin": row.origin,
        "input": row.input,
        "changed": {k: {"value": v, "usual": usual} for k, (v, usual) in row.changed.items()},
        "n": row.n,
        "seeds": list(row.seeds),
        "badges": row.made.as_data(),
        "metrics": _stats_data(row.metrics),
        "uncalibrated_H": asdict(row.uncalibrated_H),
        "gamma": asdict(row.gamma),
        "costs": _stats_data(row.costs),
        "optimistic": _stats_data(row.optimistic),
        "best": sorted(row.best),
        "intervals": {name: list(bounds) for name, bounds in row.intervals.items()},
        "folders": list(row.folders),
    }
