"""A stranger's trackers, really installed: listed, chosen by name, and harmless where they are
broken."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from installs import install
from test_cli_completion import complete
from test_cli_plugins import GOOD, source

Command = Callable[..., "subprocess.CompletedProcess[str]"]

LINES = '''
import json

from zslkit.tracker import Tracker


class Lines(Tracker):
    """A line for whatever is told."""

    def start(self, info):
        print("a tracker may print")
        self.info = info
        self.write("start", info.model, info.dataset, info.seed)

    def log(self, phase, epoch, figures):
        self.write("log", phase, epoch, figures)

    def finish(self, record):
        self.write("finish", record.metrics.H)

    def write(self, *told):
        place = self.info.folder / "lines"
        place.mkdir(exist_ok=True)
        with (place / "told.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\\n")


class Raises(Lines):
    def log(self, phase, epoch, figures):
        raise OSError("no server answers")


class Needs(Lines):
    needs = ("nosuchlibrary",)
    install = "pip install nosuchlibrary"
'''
ENTRIES = """
[project.entry-points."zslkit.trackers"]
lines = "watcher.lines:Lines"
raises = "watcher.lines:Raises"
needs = "watcher.lines:Needs"
alien = "watcher.alien:Mine"
gone = "watcher.gone:Mine"
late = "watcher.late:Mine"
"""
FILES = {
    "__init__.py": "",
    "good.py": GOOD + "\n\nclass Told(Nearest):\n    def fit(self, view, trainer):\n        "
    "trainer.log(norm=2.0)\n",
    "lines.py": LINES,
    "alien.py": "class Mine: ...\n",
    "late.py": "def load():\n    import nosuchlibrary\nload()\nfrom zslkit.tracker import "
    "Tracker\nclass Mine(Tracker): ...\n",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a stranger's distribution with trackers, a model and a
    dataset."""
    place, tree = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("sources") / "a"
    source(tree, "zslkit-watcher", "watcher", "0.7", FILES, {"told": "watcher.good:Told"})
    with (tree / "pyproject.toml").open("a") as project:
        project.write(ENTRIES)
    install(place, tree)
    return place


RUN = ("run", "--model", "told", "--dataset", "watcher-tiny", "--device", "cpu")


@pytest.mark.slow
def test_trackers_are_listed_with_their_faults_each_on_its_own_line(
    zslkit: Command, installed: Path
) -> None:
    done = zslkit("trackers", path=[installed])
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "zslkit-watcher 0.7" in lines["lines"] and lines["lines"].endswith(
        "A line for whatever is told."
    )
    assert "it is no subclass of zslkit.tracker.Tracker" in lines["alien"]
    assert "the module watcher.gone is not there" in lines["gone"]
    assert (
        "needs nosuchlibrary, which is not installed; install it with: pip install nosuchlibrary"
        in lines["needs"]
    )
    assert "cannot be used" not in lines["tensorboard"] and "zslkit 0" in lines["tensorboard"]
    checked = zslkit("trackers", "--check", "--json", path=[installed])
    told = {t["name"]: t["fault"] for t in json.loads(checked.stdout)["trackers"]}
    assert (
        checked.returncode == 1
        and told["late"] == "ModuleNotFoundError: No module named 'nosuchlibrary'"
    )
    assert told["lines"] is None and told["needs"] is None and told["tensorboard"] is None


@pytest.mark.slow
def test_a_strangers_tracker_is_told_a_run_beside_another_that_fails(
    zslkit: Command, installed: Path, tmp_path: Path
) -> None:
    plain = json.loads(zslkit(*RUN, "--json", "--out", "plain", path=[installed]).stdout)
    done = zslkit(*RUN, "--json", "--tracker", "raises", "--tracker", "lines", path=[installed])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)  # although a tracker printed
    assert told["metrics"] == plain["metrics"]
    assert Path(told["run_folder"]).name == Path(plain["run_folder"]).name
    off = [line for line in done.stderr.splitlines() if "switched off" in line]
    assert (
        len(off) == 1
        and "'raises' of zslkit-watcher 0.7" in off[0]
        and "OSError: no server answers (lines.py, line " in off[0]
    )
    heard = [
        json.loads(line)
        for line in (tmp_path / told["run_folder"] / "lines" / "told.jsonl")
        .read_text()
        .splitlines()
    ]
    expected = [
        ["start", "told", "watcher-tiny", 0],
        ["log", "train", 1, {"norm": 2.0}],
        ["finish", told["metrics"]["H"]],
    ]
    assert [h for h in heard if h != expected[0]] == expected[
        1:
    ]  # the other one began too, in the same file


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (
            "needs",
            2,
            "The tracker 'needs' needs nosuchlibrary, which is not installed; install it with: pip "
            "install nosuchlibrary",
        ),
        (
            "linse",
            2,
            'There is no tracker \'linse\'; did you mean "lines" or "alien"? List them with: '
            "zslkit trackers",
        ),
        (
            "late",
            1,
            "'late' of zslkit-watcher 0.7 (watcher.late:Mine) cannot be used: ModuleNotFoundError",
        ),
    ],
)
def test_a_tracker_that_cannot_be_used_ends_the_command_before_a_run(
    zslkit: Command, installed: Path, tmp_path: Path, name: str, code: int, words: str
) -> None:
    study = tmp_path / "s.yaml"
    study.write_text(
        "{title: T, model: told, dataset: watcher-tiny, grid: {attributes: [l2, none]}}"
    )
    commands = {
        "needs": RUN,
        "linse": ("compare", "told", "eszsl", "--dataset", "watcher-tiny"),
        "late": ("study", str(study)),
    }
    done = zslkit(*commands[name], "--tracker", name, path=[installed])
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"zslkit: {words}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_compare_and_study_tell_each_of_their_runs(
    zslkit: Command, installed: Path, tmp_path: Path
) -> None:
    options = ("--dataset", "watcher-tiny", "--seeds", "0,1", "--tracker", "lines", "--out", "c")
    assert zslkit("compare", "told", *options, path=[installed]).returncode == 0
    assert len(list((tmp_path / "c").glob("watcher-tiny/told/seed*/lines/told.jsonl"))) == 2
    (tmp_path / "s.yaml").write_text(
        "{title: T, model: told, dataset: watcher-tiny, grid: {attributes: [l2, none]}}"
    )
    assert (
        zslkit("study", "s.yaml", "--tracker", "lines", "--out", "s", path=[installed]).returncode
        == 0
    )
    assert len(list((tmp_path / "s").glob("watcher-tiny/told/seed*/lines/told.jsonl"))) == 2


def test_names_of_trackers_are_completed(installed: Path, tmp_path: Path) -> None:
    assert complete("zslkit run --tracker tens", tmp_path) == ["tensorboard"]
    assert complete("zslkit study s.yaml --tracker li", tmp_path, path=[installed]) == ["lines"]
