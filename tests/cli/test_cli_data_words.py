"""`zslkit data words`, end to end: where vectors go, what is never lost, and what is said when
words are missing."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from zslkit.cli.app import main
from zslkit.datasets.attribute_names import shipped_card
from zslkit.readers.word_vectors import clean_phrase

Command = Callable[..., "subprocess.CompletedProcess[str]"]

ENCODER = """
__version__ = "9.9"


class SentenceTransformer:
    def __init__(self, name, device):
        if name == "none":
            raise OSError("no such model")
        assert device == "cpu"

    def encode(self, phrases):
        import numpy

        return numpy.array([[len(p), p.count(" ")] for p in phrases], dtype="float32")
"""


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A file with a vector for each word that AWA2's attribute names need: [its length, 1]."""
    card = shipped_card("AWA2")
    assert card is not None
    words = {
        word for name in card.names for word in clean_phrase(card.words.get(name, name)).split()
    }
    (tmp_path / "v.txt").write_text("".join(f"{word} {len(word)} 1\n" for word in sorted(words)))
    (tmp_path / "data").mkdir()
    return tmp_path / "v.txt"


@pytest.mark.slow
def test_vectors_go_where_the_dataset_looks_with_a_note_of_how(
    zslkit: Command, vectors: Path
) -> None:
    done = zslkit("data", "words", "awa2", "--vectors", "v.txt", "--json")
    assert done.returncode == 0, done.stderr
    note = json.loads((vectors.parent / "data" / "w2v" / "AWA2_attribute.json").read_text())
    assert {k: v for k, v in json.loads(done.stdout).items() if k not in ("file", "note")} == note
    table = np.load(vectors.parent / "data" / "w2v" / "AWA2_attribute.npy")
    card = shipped_card("AWA2")
    assert card is not None
    assert (note["attributes"], note["width"], table.shape, table.dtype) == (
        85,
        2,
        (85, 2),
        np.float32,
    )
    assert table[card.names.index("toughskin")].tolist() == [
        4.5,
        1,
    ]  # the mean of "tough" and "skin"
    assert note["phrases"]["toughskin"] == "tough skin"
    assert note["vectors"] == "v.txt" and len(note["sha256_of_vectors"]) == 64


@pytest.mark.slow
def test_what_is_there_is_not_written_over(zslkit: Command, vectors: Path) -> None:
    home = vectors.parent / "data" / "w2v"
    home.mkdir()
    (home / "AWA2_attribute.pkl").write_bytes(b"from elsewhere")
    refused = zslkit("data", "words", "awa2", "--vectors", "v.txt")
    assert (
        refused.returncode == 2
        and "--again" in refused.stderr
        and "AWA2_attribute.pkl" in refused.stderr
    )
    assert [p.name for p in home.iterdir()] == ["AWA2_attribute.pkl"]
    elsewhere = zslkit("data", "words", "awa2", "--vectors", "v.txt", "--out", "mine.npy")
    assert elsewhere.returncode == 0 and (vectors.parent / "mine.npy").is_file()
    assert "awa2 reads" in elsewhere.stderr
    again = zslkit("data", "words", "awa2", "--vectors", "v.txt", "--again")
    assert again.returncode == 0, again.stderr
    assert (home / "AWA2_attribute.pkl").read_bytes() == b"from elsewhere"
    before = (home / "AWA2_attribute.npy").read_bytes()
    vectors.write_text("nothing 1 1\n")
    failed = zslkit("data", "words", "awa2", "--vectors", "v.txt", "--again")
    assert failed.returncode == 2 and "no vectors for" in failed.stderr
    assert (home / "AWA2_attribute.npy").read_bytes() == before
    assert len(list(home.iterdir())) == 3


def test_what_was_ended_between_vectors_and_note_is_completed(
    vectors: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(vectors.parent)
    command = ["data", "words", "awa2", "--vectors", "v.txt"]
    assert main(command) == 0
    home = vectors.parent / "data" / "w2v"
    before = {p.name: p.read_bytes() for p in home.iterdir()}
    note = home / "AWA2_attribute.json"
    for spoilt in (None, "{}", json.dumps({"sha256": "of others"})):
        if spoilt is None:
            note.unlink()
        else:
            note.write_text(spoilt)
        assert main(command) == 0 and {p.name: p.read_bytes() for p in home.iterdir()} == before
    assert main(command) == 2, "now all is there"
    note.unlink()
    np.save(home / "AWA2_attribute.npy", np.zeros((85, 2), np.float32))
    assert main(command) == 2 and "has word vectors already" in capsys.readouterr().err, (
        "others are not ours to describe"
    )
    assert not note.exists() and not np.load(home / "AWA2_attribute.npy").any()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        (OSError("170 requested and 0 written"), "No space left on device"),  # as numpy says it
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)
def test_a_disk_that_takes_nothing_is_said_in_one_sentence(
    vectors: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    said: str,
) -> None:
    def save(*arguments: object) -> None:
        raise error

    monkeypatch.chdir(vectors.parent)
    monkeypatch.setattr(np, "save", save)
    assert main(["data", "words", "awa2", "--vectors", "v.txt"]) == 1
    told = capsys.readouterr().err
    assert (
        "Unexpected" not in told
        and f"AWA2_attribute.npy cannot be written ({said}); mend that" in told
    )
    assert list((vectors.parent / "data" / "w2v").iterdir()) == []


@pytest.mark.slow
def test_show_tells_each_name_its_words_and_what_is_missing_and_writes_nothing(
    zslkit: Command, vectors: Path
) -> None:
    alone = zslkit("data", "words", "cub", "--show")
    assert alone.returncode == 0 and alone.stderr == ""
    assert [
        "has_bill_shape::curved_(up_or_down)",
        "bill",
        "shape",
        "curved",
        "up",
        "or",
        "down",
    ] in [n.split() for n in alone.stdout.splitlines()]
    vectors.write_text(
        "".join(
            line + "\n" for line in vectors.read_text().splitlines() if not line.startswith("skin ")
        )
    )
    done = zslkit("data", "words", "awa2", "--vectors", "v.txt", "--show", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)["attributes"]}
    assert rows["toughskin"] == {
        "name": "toughskin",
        "words": ["tough", "skin"],
        "missing": ["skin"],
    }
    assert rows["black"]["missing"] == []
    (vectors.parent / "reword.yaml").write_text("toughskin: tough\n")
    mended = zslkit(
        "data", "words", "awa2", "--vectors", "v.txt", "--show", "--reword", "reword.yaml"
    )
    assert "missing" not in mended.stdout
    assert not list((vectors.parent / "data").iterdir())


@pytest.mark.slow
def test_the_vectors_of_a_card_go_beside_it(zslkit: Command, vectors: Path) -> None:
    home = vectors.parent
    (home / "own.csv").write_text("class,black,white\nx,1,0\ny,0,1\n")
    (home / "own.yaml").write_text("name: own\nimages: images\nattributes: own.csv\nunseen: [y]\n")
    done = zslkit("data", "words", "own.yaml", "--vectors", "v.txt")
    assert done.returncode == 0, done.stderr
    assert "word_vectors: own_words.npy" in done.stderr
    assert np.load(home / "own_words.npy").tolist() == [[5, 1], [5, 1]]


@pytest.mark.slow
def test_a_sentence_encoder_embeds_whole_phrases(zslkit: Command, vectors: Path) -> None:
    stand_in = vectors.parent / "site"
    stand_in.mkdir()
    (stand_in / "sentence_transformers.py").write_text(ENCODER)
    done = zslkit("data", "words", "awa2", "--encoder", "tiny", "--json", path=[stand_in])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["encoder"], told["sentence_transformers"], told["width"]) == ("tiny", "9.9", 2)
    card = shipped_card("AWA2")
    assert card is not None
    table = np.load(vectors.parent / "data" / "w2v" / "AWA2_attribute.npy")
    assert table[card.names.index("toughskin")].tolist() == [10, 1]
    failed = zslkit("data", "words", "awa2", "--encoder", "none", "--again", path=[stand_in])
    assert failed.returncode == 2 and "'none' cannot be loaded (" in failed.stderr


@pytest.mark.slow
def test_without_the_package_the_encoder_says_how_to_get_it(zslkit: Command, vectors: Path) -> None:
    stand_in = vectors.parent / "site"
    stand_in.mkdir()
    (stand_in / "sentence_transformers.py").write_text("raise ImportError('not here')\n")
    done = zslkit("data", "words", "awa2", "--encoder", "tiny", path=[stand_in])
    assert done.returncode == 2 and "pip install 'zslkit[words]'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("awa2",), "give --vectors FILE or --encoder MODEL"),
        (("awa2", "--vectors", "v.txt", "--encoder", "m"), "leave one away"),
        (("awa3", "--show"), 'did you mean "awa'),
        (("flo", "--show"), "described by sentences"),
        (("apy", "--show"), "attribute_names/APY.txt"),
        (("awa2", "--vectors", "none.txt"), "no file of word vectors none.txt"),
        (("awa2", "--vectors", "v.npy"), "no file of word vectors v.npy"),
        (("awa2", "--vectors", "v.txt", "--out", "v.txt"), "written as .npy"),
        (
            ("awa2", "--vectors", "v.txt", "--data-root", "nowhere"),
            "no folder nowhere (--data-root)",
        ),
        (("digits", "--vectors", "v.txt"), "say with --out FILE.npy"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    zslkit: Command, vectors: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = zslkit("data", "words", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
