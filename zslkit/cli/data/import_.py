"""`zslkit data import`: features that another program made become a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import echo, print_json, printable

_FILE = click.Path(path_type=Path)


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--to", required=True, type=_FILE, metavar="DIR", help="Folder of the new dataset.")
@click.option("--name", metavar="NAME", help="Name of the dataset; default: that of the folder.")
@click.option("--title", default="", metavar="TEXT", help="What tables call it; default: its name.")
@click.option(
    "--split",
    type=_FILE,
    metavar="FILE",
    help="att_splits.mat, .npz or .h5, or a folder with trainval_loc.npy and so on.",
)
@click.option(
    "--labels",
    type=_FILE,
    metavar="FILE",
    help="Class numbers of the images, .npy or .txt, or class names, .txt.",
)
@click.option(
    "--attributes",
    type=_FILE,
    metavar="CSV",
    help="Class attributes: a class a row, its name first, attributes in the header.",
)
@click.option(
    "--words",
    type=_FILE,
    metavar="FILE",
    help="Word vectors of the attributes: .pkl, .npy, .txt or .vec.",
)
@click.option(
    "--table",
    type=click.Choice(["original_att", "att"]),
    help="Which class attributes of the file; default: original_att.",
)
@click.option(
    "--layout",
    type=click.Choice(["channels-first", "channels-last"]),
    help="Axes of the features where two readings are possible: channels-first is (N, D, R) or (N, D, H, W), channels-last is "
    "(N, R, D) or (N, H, W, D); N images, D channels, R positions (a square, or a square and a class token before it), H x W grid.",
)
@click.option(
    "--table-rows",
    type=click.Choice(["classes", "attributes"]),
    help="What the rows of the file's class attributes are, where labels and names leave it open.",
)
@click.option(
    "--like",
    metavar="NAME",
    help="Attributes are those of cub, sun or awa2: take their names and groups.",
)
@click.option("--sentences", is_flag=True, help="The class attributes are embeddings of sentences.")
@click.option(
    "--base",
    type=click.Choice(["0", "1"]),
    help="What image and class numbers count from, where their range leaves it open.",
)
@click.option(
    "--as-labelled",
    is_flag=True,
    help="Take the labels of a .mat as they are, whatever its folders of images are called.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    default="float16",
    show_default=True,
    help="Type of stored maps.",
)
@click.option("--again", is_flag=True, help="Replace what was imported into DIR before.")
@json_option
@debug_option
def import_(file: Path, to: Path, base: str | None, as_json: bool, **chosen: Any) -> None:
    """Turn features of another program into a dataset that runs without images.

    FILE is res101.mat (att_splits.mat is found beside it), an HDF5 cache with feature_map, labels, trainval_loc and so on, or a
    .npz or .npy file of features (N, D), (N, D, R) or (N, D, H, W).

    \b
    Example:
      zslkit data import tokens.h5 --to birds --layout channels-last
    """
    from zslkit.acquire.importing import Choices, import_features
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
        print_json(
            {
                **facts,
                **data.fingerprints(),
                "notes": list(made.notes),
                "warnings": list(made.warnings),
            }
        )
        return
    words = "with word vectors" if facts["word_vectors"] else "without word vectors"
    echo(printable(f"from:       {made.origin}"))
    echo(
        f"features:   {len(data.labels)} {'maps' if data.maps is not None else 'pooled'} of {' x '.join(map(str, shape))}"
    )
    echo(f"classes:    {facts['classes']}, {facts['unseen']} of them unseen")
    echo(f"attributes: {facts['attributes']} in {facts['groups']} groups, {words}")
    echo("split:      " + ", ".join(f"{part} {count}" for part, count in split.items()))
    for note in made.notes:
        echo(printable(f"note:       {note}"))
    for warning in made.warnings:
        echo(printable(f"warning:    {warning}"))
    echo(printable(f"run it:     zslkit run --model MODEL --dataset {_quoted(made.card)}"))


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
