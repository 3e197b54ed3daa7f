"""`zslkit data download` as a process of its own, against a server of ours."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fileserver import Site, serving

Command = Callable[..., "subprocess.CompletedProcess[str]"]

PLUGIN = '''
from zslkit.dataset import DatasetSource


class Birds(DatasetSource):
    """Birds from the next table."""

    downloads = (
        {{"file": "birds.zip", "urls": ["{url}/birds.zip"], "folder": "birds",
          "holds": ["classes.txt"],
           "licence": "CC0", "size": 1500}},
    )

    def load(self, name, root):
        raise NotImplementedError
'''


def archive_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return stream.getvalue()


BIRDS = archive_of({"classes.txt": b"wren", "a.jpg": os.urandom(400_000)})
XLSA17 = archive_of(
    {
        f"xlsa17/data/{name}/{part}.mat": part.encode()
        for name in ("AWA1", "CUB", "SUN")
        for part in ("att_splits", "res101")
    }
    | {"xlsa17/code/readme": b"not wanted"}
)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Site({"/birds.zip": BIRDS, "/zsl/xlsa17.zip": XLSA17})) as served:
        yield served


@pytest.fixture
def plugin(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds an installed package with one dataset, `birds`."""
    home = tmp_path_factory.mktemp("site")
    (home / "nexttable.py").write_text(PLUGIN.format(url=site.url))
    info = home / "nexttable-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nexttable\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zslkit.datasets]\nbirds = nexttable:Birds\n")
    return home


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_mirror_gives_what_a_built_in_dataset_needs(
    zslkit: Command, site: Site, tmp_path: Path
) -> None:
    done = zslkit("data", "download", "awa1", "--mirror", f"{site.url}/zsl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "file        in                outcome",
        "xlsa17.zip  data/xlsa17/data  6 files added",
    ]
    assert "xlsa17.zip (MB): 1/1" in done.stderr
    assert (tmp_path / "data/xlsa17/data/AWA1/res101.mat").read_bytes() == b"res101"
    again = zslkit("data", "download", "awa1", "--mirror", f"{site.url}/zsl", "--json")
    (told,) = json.loads(again.stdout)["downloads"]
    assert (told["before"], told["fetched_from"], told["added"]) == ("unpacked", None, None)
    assert len(site.asked) == 1


def test_a_plugins_own_archive(zslkit: Command, site: Site, plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "lab" / "birds").mkdir(parents=True)
    (tmp_path / "lab" / "birds" / "a.jpg").write_bytes(b"mine")
    done = zslkit(
        "data",
        "download",
        "birds",
        "--data-root",
        "lab",
        "--remove-archives",
        "--json",
        path=[plugin],
    )
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["downloads"]
    assert (told["fetched_from"], told["added"], told["kept"], told["differ"]) == (
        f"{site.url}/birds.zip",
        1,
        1,
        ["a.jpg"],
    )
    assert everything(tmp_path) == {
        "lab/birds/a.jpg",
        "lab/birds/classes.txt",
        "lab/.zslkit/downloads.json",
        "lab/.zslkit/downloads.lock",
    }
    assert (tmp_path / "lab/birds/a.jpg").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_dry_run_says_all_and_touches_nothing(
    zslkit: Command, site: Site, plugin: Path, tmp_path: Path
) -> None:
    arguments = ("data", "download", "cub", "birds", "--mirror", f"{site.url}/zsl", "--dry-run")
    text = zslkit(*arguments, path=[plugin])
    assert (text.returncode, text.stderr) == (0, "")
    lines = text.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "file",
        "CUB_200_2011.tgz",
        "xlsa17.zip",
        "birds.zip",
    ]
    for words in (
        "about 1.5 kB",
        "to fetch",
        "data/birds",
        "CC0",
        f"{site.url}/zsl/birds.zip or {site.url}/birds.zip",
    ):
        assert words in lines[3]
    told = json.loads(zslkit(*arguments, "--json", path=[plugin]).stdout)
    assert told["dry_run"] is True
    assert [d["before"] for d in told["downloads"]] == ["missing"] * 3
    assert told["downloads"][0]["md5"] == "97eceeb196236b17998738112f37df78"
    assert told["downloads"][0]["archive"] == "data/downloads/CUB_200_2011.tgz"
    assert everything(tmp_path) == set() and not (tmp_path / "data").exists() and site.asked == []


@pytest.mark.slow
def test_a_dead_link_is_one_sentence_and_a_file_put_there_by_hand_is_taken(
    zslkit: Command, site: Site, plugin: Path, tmp_path: Path
) -> None:
    site.files.clear()
    lost = zslkit("data", "download", "birds", path=[plugin])
    assert (lost.returncode, lost.stdout, lost.stderr.count("\n")) == (2, "", 1)
    assert f"fetch {site.url}/birds.zip by hand, put it at data/downloads/birds.zip" in lost.stderr
    (tmp_path / "data/downloads/birds.zip").write_bytes(BIRDS)
    dry = zslkit("data", "download", "birds", "--dry-run", path=[plugin])
    assert "data/downloads/birds.zip to unpack" in dry.stdout
    assert zslkit("data", "download", "birds", path=[plugin]).returncode == 0
    assert (tmp_path / "data/birds/classes.txt").read_bytes() == b"wren"


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_fetched_and_the_same_command_goes_on(
    site: Site, plugin: Path, tmp_path: Path
) -> None:
    site.hold = threading.Event()
    command = [sys.executable, "-P", "-m", "zslkit", "data", "download", "birds"]
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a shell's background jobs ignore it
    )
    until = time.monotonic() + 60
    while (
        not sum(p.stat().st_size for p in (tmp_path / "data" / "downloads").glob("*.part"))
        and time.monotonic() < until
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert (
        "keeps" in err
        and "the same command goes on from there" in err
        and err.endswith("zslkit: Interrupted\n")
    )
    (part,) = (tmp_path / "data" / "downloads").glob("*.part")
    kept = part.stat().st_size
    site.hold.set()
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [span for _, span in site.asked] == ["", f"bytes={kept}-"]
    assert (tmp_path / "data/downloads/birds.zip").read_bytes() == BIRDS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            [],
            "Name one dataset or more; these can be downloaded: apy, awa1, awa2, birds, cub, "
            "cub-sentences, flo, sun",
        ),
        (["cubb"], "There is no dataset 'cubb'; did you mean \"cub\""),
        (["digits"], "The dataset 'digits' declares nothing to download"),
        (
            ["birds", "--mirror", "/mnt/lab"],
            "The mirror '/mnt/lab' is no http:// or https:// address",
        ),
        (["birds", "--data-root", os.devnull], "cannot be written"),
    ],
)
def test_mistakes_are_told_in_one_line_with_code_2(
    zslkit: Command, plugin: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = zslkit("data", "download", *arguments, path=[plugin])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert everything(tmp_path) == set()
