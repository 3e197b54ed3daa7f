"""`zslkit data words`: word vectors made of a dataset's attribute names."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zslkit.cli import completers
from zslkit.cli.listing import find_names
from zslkit.cli.options import data_root_option, flag, path_option
from zslkit.cli.output import echo, print_columns, print_json
from zslkit.cli.verb import refuse, verb
from zslkit.errors import DataError, UserError

if TYPE_CHECKING:
    from zslkit.datasets.catalog import NamedDataset
    from zslkit.readers.word_vectors import Phrase


@verb(example="zslkit data words digits --show")
@click.argument("dataset", metavar="NAME", shell_complete=completers.datasets)
@path_option(
    "--vectors",
    metavar="FILE",
    help="Word vectors to look up: GloVe, word2vec or fastText in text form, also gzipped.",
)
@click.option(
    "--encoder",
    metavar="MODEL",
    help="A model of sentence-transformers that embeds whole phrases, instead of --vectors.",
)
@path_option(
    "--reword", metavar="FILE", help="YAML file of attribute name: words to look up instead."
)
@flag("--show", "Print the words of each name and which are found; write nothing.")
@data_root_option
@path_option(
    "--out", metavar="FILE.npy", help="Write into this file; default: where NAME looks for it."
)
@flag("--again", "Write even if NAME has word vectors already.")
def words(
    dataset: str,
    vectors: Path | None,
    encoder: str | None,
    reword: Path | None,
    show: bool,
    data_root: Path,
    out: Path | None,
    again: bool,
    as_json: bool,
) -> None:
    """Make word vectors for the attribute names of NAME (a dataset or a card FILE.yaml).

    A note beside the file says how they were made.
    """
    refuse(
        (
            vectors is not None and encoder is not None,
            "Either --vectors or --encoder makes the word vectors; leave one away",
        ),
        (
            vectors is None and encoder is None and not show,
            "Word vectors are made of something; give --vectors FILE or --encoder MODEL (--show "
            "alone shows the words)",
        ),
    )
    find_names([], dataset)
    from zslkit.datasets.catalog import find_dataset
    from zslkit.readers.word_vectors import phrases_of

    named = find_dataset(dataset)
    names, said = named.attribute_names(data_root), named.attribute_words(data_root)
    known_words = {name: text for name, text in said.items() if name in names}
    phrases = phrases_of(names, {**known_words, **_rewordings(reword)})
    if show:
        _show(phrases, None if vectors is None else _text(vectors, phrases).known, as_json)
        return
    target, standing = _target(named, data_root, out)
    from zslkit.acquire.words import half_made, same, write
    from zslkit.readers.sentence_encoder import Encoder

    if standing is not None and not again and not half_made(target):
        raise standing
    source = _text(vectors, phrases) if vectors is not None else Encoder.load(str(encoder))
    if standing is not None and not again and not same(target, phrases, source):
        raise standing  # else the same command was ended before its note was there
    note = write(target, dataset, phrases, source)
    if as_json:
        print_json({"file": target, "note": target.with_suffix(".json"), **note})
        return
    echo(f"{note['attributes']} word vectors of width {note['width']} for {dataset}: {target}")
    echo(f"how they were made: {target.with_suffix('.json')}")
    if hint := _hint(named, data_root, target):
        click.echo(hint, err=True)


def _text(path: Path, phrases: Sequence[Phrase]) -> Any:
    from zslkit.acquire.words import TextSource
    from zslkit.utils.progress import reporter_for

    return TextSource.read(path, phrases, reporter_for())


def _rewordings(path: Path | None) -> Mapping[str, str]:
    if path is None:
        return {}
    from zslkit.config.merge import read_yaml

    values = read_yaml(path).values
    for name, text in values.items():
        if not isinstance(name, str) or not isinstance(text, str):
            wrong = f"{path}: {name!r} is reworded as {text!r}"
            raise UserError(f"{wrong}; write an attribute name and its words, as texts")
    return values


def _target(named: NamedDataset, root: Path, out: Path | None) -> tuple[Path, UserError | None]:
    """The file to write, and an error if there are word vectors that must not be lost. Raises
    UserError if the file is not known."""
    from zslkit.utils.files import clear

    dataset, places = named.word, named.word_vector_files(root)
    standing = [out] if out is not None else list(places)
    if out is None and named.is_card and (not places or places[0].suffix != ".npy"):
        out = Path(dataset).with_name(f"{Path(dataset).stem}_words.npy")
        standing = [out, *places]
    if out is None and not places:
        raise UserError(
            f"{dataset} looks for word vectors nowhere; say with --out FILE.npy where they should "
            "go"
        )
    if out is None and not named.is_card and not root.is_dir():
        raise DataError(
            f"{dataset}: there is no folder {root} (--data-root); name the folder of the datasets, "
            "or say --out FILE.npy"
        )
    target = out or places[0]
    if target.suffix != ".npy":
        raise UserError(f"{target}: word vectors are written as .npy; let --out end in it")
    for file in (target, target.with_suffix(".json")):
        clear(file.parent, file.name)
    if there := next((file for file in standing if file.exists()), None):
        more = "" if there == target else f" (it stays, and {target} is read before it)"
        return target, UserError(
            f"{dataset} has word vectors already, {there}; --again makes new ones{more}, --out "
            "FILE.npy writes elsewhere"
        )
    return target, None


def _hint(named: NamedDataset, root: Path, target: Path) -> str:
    """What is left to do before the dataset reads the file that was written."""
    dataset, places = named.word, named.word_vector_files(root)
    if named.is_card:
        home = Path(dataset).resolve().parent
        file = target.resolve()
        inner = file.relative_to(home) if file.is_relative_to(home) else file
        hint = f"To have them used, let {dataset} say: word_vectors: {inner}"
        return "" if file in places else hint
    read = next((place for place in places if place.is_file()), None)
    if not places or (read is not None and read.resolve() == target.resolve()):
        return ""
    return f"{dataset} reads {read or places[0]}; put the file there to have it used"


def _show(phrases: Sequence[Phrase], known: Container[str] | None, as_json: bool) -> None:
    lost = {p.name: [] if known is None else list(p.missing_words(known)) for p in phrases}
    if as_json:
        rows = [
            {
                "name": p.name,
                "words": list(p.words),
                "missing": None if known is None else lost[p.name],
            }
            for p in phrases
        ]
        print_json({"attributes": rows})
        return
    header = ("name", "words", "vectors")[: 2 if known is None else 3]
    verdict = {
        name: f"missing: {', '.join(some)}" if some else "found" for name, some in lost.items()
    }
    table = [(p.name, " ".join(p.words), verdict[p.name])[: len(header)] for p in phrases]
    print_columns(header, table)
    if any(lost.values()):
        click.echo(
            f"{sum(map(bool, lost.values()))} of {len(phrases)} names lack a word; reword them "
            "with --reword FILE",
            err=True,
        )
