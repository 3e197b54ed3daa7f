"""`zslkit data import`: features that another program made become a dataset."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from zslkit.cli import completers
from zslkit.cli.options import DTYPES, PLACE, explained, flag, path_option
from zslkit.cli.output import echo, print_json, printable
from zslkit.cli.verb import verb


@verb(
    "import",
    example="zslkit data import tokens.h5 --out birds --layout channels-last",
    formerly={"--to": "--out", "--attributes": "--class-attributes"},
)
@click.argument("file", type=PLACE)
@path_option("--out", "to", required=True, help="Write the dataset into this folder.")
@click.option("--name", metavar="NAME", help="Name of the dataset; default: that of the folder.")
@click.option(
    "--title",
    default="",
    show_default=False,
    metavar="TEXT",
    help="Name of the dataset in tables; default: NAME.",
)
@path_option(
    "--split",
    metavar="FILE",
    help="Split: att_splits.mat, .npz or .h5, or a folder with trainval_loc.npy and so on.",
)
@path_option(
    "--labels",
    metavar="FILE",
    help="Class numbers of the images, .npy or .txt, or class names, .txt.",
)
@path_option(
    "--class-attributes",
    "attributes",
    metavar="CSV",
    help="Class attributes: a class a row, its name first, attributes in the header.",
)
@path_option(
    "--words", metavar="FILE", help="Word vectors of the attributes: .pkl, .npy, .txt or .vec."
)
@explained(
    "--table",
    values={"original_att": "as people rated them", "att": "normalised"},
    help="Which class attributes of the file to use; default: original_att.",
)
@explained(
    "--layout",
    values={
        "channels-first": "(N, D, R) or (N, D, H, W)",
        "channels-last": "(N, R, D) or (N, H, W, D)",
    },
    help="Order of the features' axes; needed where two readings are possible. N images, D "
    "channels, R positions (a square, or a square and a class token before it), H x W grid.",
)
@explained(
    "--table-rows",
    values={"classes": "a class a row", "attributes": "an attribute a row"},
    help="Rows of the file's class attributes; needed where labels and names leave it open.",
)
@click.option(
    "--like",
    metavar="NAME",
    shell_complete=completers.fixed("cub", "sun", "awa2"),
    help="Take names and groups of the attributes from cub, sun or awa2.",
)
@flag("--sentences", "The class attributes are embeddings of sentences.")
@explained(
    "--base",
    values={"0": "as in Python", "1": "as in MATLAB"},
    help="First number of images and classes; needed where their range leaves it open.",
)
@flag(
    "--as-labelled",
    "Use the labels of a .mat as they are, even if the folders of its images differ.",
)
@explained("--dtype", values=DTYPES, default="float16", help="Type of the stored features.")
@flag("--again", "Replace what was imported into DIR before.")
def import_(file: Path, to: Path, base: str | None, as_json: bool, **chosen: Any) -> None:
    """Turn features of another program into a dataset that runs without images.

    FILE is res101.mat (att_splits.mat is found beside it), an HDF5 file with feature_map, labels,
    trainval_loc and so on, or a .npz or .npy file of features (N, D), (N, D, R) or (N, D, H, W).
    """
    from zslkit.acquire.import_classes import Choices
    from zslkit.acquire.importing import import_features
    from zslkit.utils.progress import reporter_for

    made = import_features(
        file, to, Choices(base=None if base is None else int(base), **chosen), reporter_for()
    )
    data = made.dataset
    split = {part: len(index) for part, index in data.split.parts().items()}
    shape = list(data.maps.map_shape if data.maps is not None else data.features.shape[1:])  # type: ignore[union-attr]
    facts: dict[str, Any] = {
        "card": str(made.card),
        "name": data.name,
        "from": made.origin,
        "features": shape,
        "images": len(data.labels),
        "classes": len(data.classes),
        "unseen": int((~data.seen).sum()),
        "attributes": len(data.semantics.names),
        "groups": len(data.semantics.groups),
        "word_vectors": data.semantics.word_vectors is not None,
        **split,
    }
    if as_json:
        told = {"notes": list(made.notes), "warnings": list(made.warnings)}
        print_json({**facts, **data.fingerprints(), **told})
        return
    kind = "maps" if data.maps is not None else "pooled"
    words = "with word vectors" if facts["word_vectors"] else "without word vectors"
    said = [
        ("from", made.origin),
        ("features", f"{len(data.labels)} {kind} of {' x '.join(map(str, shape))}"),
        ("classes", f"{facts['classes']}, {facts['unseen']} of them unseen"),
        ("attributes", f"{facts['attributes']} in {facts['groups']} groups, {words}"),
        ("split", ", ".join(f"{part} {count}" for part, count in split.items())),
        *(("note", note) for note in made.notes),
        *(("warning", warning) for warning in made.warnings),
        ("run it", f"zslkit run --model MODEL --dataset {shlex.quote(str(made.card))}"),
    ]
    for word, text in said:
        echo(f"{word + ':':<12}{printable(text)}")
