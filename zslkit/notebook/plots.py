"""`zslkit.plots`: the curve, the accuracy of classes, mistakes and heat maps of finished runs.

A run is given as it is or by its folder. Every function but `heat_maps` draws into `ax`, or into
new axes, and returns the axes. Where there is no finished run they raise UserError, and DataError
where its scores are missing or damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zslkit.evaluation.confusion import confusion_table, largest
from zslkit.evaluation.sets import TestSets, checked_sets
from zslkit.explain.heatmaps import blocks_of_photos, blocks_of_test_images, draw
from zslkit.notebook.predictions import photo_list
from zslkit.runs.result import Result, open_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zslkit.readers.image_file import Photo

SEEN, UNSEEN = "#4477aa", "#ee6677"
"""Colours that people with colour blindness tell apart (Tol, bright)."""
NAMED = 50
"""Most classes whose names are written beside their bars."""

Runs = Result | str | Path


def curve(runs: Runs | Sequence[Runs], ax: Axes | None = None) -> Axes:
    """The seen-unseen curve of one or several runs; a dot marks each run's own gamma."""
    axes = _axes(ax)
    for run in [runs] if isinstance(runs, (Result, str, Path)) else runs:
        result = _opened(run)
        found = _sets(result).curve()
        name = f"{result.record.model.name}, seed {result.record.seed}"
        label = f"{name} (AUSUC {found.ausuc:.3f})"
        (line,) = axes.plot(100 * found.seen, 100 * found.unseen, label=label)
        axes.plot(result.metrics["S"], result.metrics["U"], "o", color=line.get_color())
    axes.set(xlabel="S, accuracy on seen classes in %", ylabel="U, accuracy on unseen classes in %")
    axes.legend(fontsize="small")
    return axes


def per_class(run: Runs, ax: Axes | None = None) -> Axes:
    """Accuracy of each class among all classes, best first, seen and unseen classes apart.

    Classes without test images are left out; names are written up to NAMED classes.
    """
    from matplotlib.patches import Patch

    result = _opened(run)
    seen = dict(zip(result.scores.classes, result.scores.seen.tolist(), strict=True))
    known = [(name, value) for name, value in result.per_class.items() if value is not None]
    known.sort(key=lambda one: (not seen[one[0]], -one[1]))
    names, values = [name for name, _ in known], [value for _, value in known]
    named = len(names) <= NAMED
    axes = _axes(ax, height=1.2 + 0.2 * len(names) if named else 4.8)
    colours = [SEEN if seen[name] else UNSEEN for name in names]
    axes.barh(range(len(names)), values, height=0.8 if named else 1.0, color=colours)
    axes.set_yticks(range(len(names)) if named else [], names if named else [])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="accuracy in %", ylabel=f"{len(names)} classes")
    axes.legend(handles=[Patch(color=SEEN, label="seen"), Patch(color=UNSEEN, label="unseen")])
    return axes


def confusion(run: Runs, ax: Axes | None = None, most: int = 30) -> Axes:
    """The confusion matrix: share of each true class's images by answer, in percent.

    Of more than `most` classes, those of the most frequent mistakes are shown.
    """
    result = _opened(run)
    table = confusion_table(_sets(result), result.gamma)
    shown = np.flatnonzero(table.sum(axis=1))
    if len(shown) > most:
        mistaken = [k for row in largest(table, table.size) for k in row[:2]]
        shown = np.array(sorted(dict.fromkeys(mistaken[: 4 * most]))[:most])
    shown = shown[np.argsort(~result.scores.seen[shown], kind="stable")]  # seen classes first
    share = 100 * table[np.ix_(shown, shown)] / table[shown].sum(axis=1, keepdims=True).clip(min=1)
    axes = _axes(ax, height=1.5 + 0.22 * len(shown))
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    names = [result.scores.classes[k] for k in shown.tolist()]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize="small")
    axes.set_yticks(range(len(names)), names, fontsize="small")
    border = int(result.scores.seen[shown].sum()) - 0.5
    axes.axhline(border, color="grey", linewidth=0.8)
    axes.axvline(border, color="grey", linewidth=0.8)
    axes.set(xlabel="answer (unseen classes right of the line)", ylabel="true class")
    axes.figure.colorbar(picture, ax=axes, label="% of the class's images", shrink=0.7)
    return axes


def heat_maps(
    run: Runs,
    photos: Photo | Sequence[Photo] | None = None,
    *,
    attributes: Sequence[str] | None = None,
    top: int = 3,
    count: int = 1,
) -> Figure:
    """Where the model looked for each attribute, as `zslkit explain`. Needs the dataset.

    Args:
        run: A finished run of a model with attention maps, or its folder.
        photos: Paths or images of Pillow; None takes images of both test sets.
        attributes: Names of attributes; None takes those that added most to the predicted class.
        top: Number of attributes, if none are named.
        count: Images of each test set, if no photos are given.

    Raises:
        UserError: The model offers no attention, or the run has no photos.
        DataError: A photo cannot be read, or the data differ from those of the run.
    """
    trained = _opened(run).loaded
    blocks = (
        blocks_of_test_images(trained, count, attributes, top)
        if photos is None
        else blocks_of_photos(trained, photo_list(photos), attributes, top)
    )
    return draw(blocks, trained.dataset.semantics.names)


def _opened(run: Runs) -> Result:
    return run if isinstance(run, Result) else open_run(run)


def _sets(result: Result) -> TestSets:
    return checked_sets(*result.scores.sets())


def _axes(ax: Axes | None, height: float = 3.6) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    axes: Axes = pyplot.subplots(figsize=(6.4, min(height, 20)), layout="constrained")[1]
    return axes
