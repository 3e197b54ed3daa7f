"""What a model that cheats, or is mistaken, comes to: it is named and leaves no record, or it gains
nothing."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cheats
import numpy as np
import pytest
import torch

import zslkit.evaluation.gzsl
import zslkit.evaluation.metrics
import zslkit.runs.execute
import zslkit.training.rescoring
from zslkit import registry
from zslkit.errors import ModelFault, ZslkitError
from zslkit.registry import BrokenPlugin, rescan
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.testing import check_model
from zslkit.utils.library_state import State

TOYS = {
    name: value
    for name, value in vars(cheats).items()
    if isinstance(value, type) and issubclass(value, cheats.Honest)
}


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toys as models and datasets that a distribution brings."""
    place = tmp_path_factory.mktemp("installed")
    facts = place / "cheats_zslkit-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: cheats-zslkit\nVersion: 1\n")
    models = "\n".join(f"{name.lower()} = cheats:{name}" for name in TOYS)
    (facts / "entry_points.txt").write_text(
        f"[zslkit.models]\n{models}\nmoves = moves:Moves\n[zslkit.datasets]\nsorted = "
        "cheats:Sorted\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        rescan()
        yield
    rescan()


@pytest.fixture(autouse=True)
def own_title(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(cheats.Sorted, "title", request.node.name)


def run(model: str, out: Path) -> Result:
    return api.run(model, "sorted", out=out, device="cpu")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run("honest", tmp_path_factory.mktemp("honest"))


def test_an_honest_model_is_scored_twice_and_its_record_says_so(honest: Result) -> None:
    assert 20 < honest.metrics["H"] < 80  # so that a cheat has something to gain
    said = honest.record.scoring
    assert said is not None and (said.rescored, said.moved, said.remark) == (8, 0, "")
    assert said.drift < 1e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "averages",
            "change by up to .* of their spread when the images are scored alone or beside others",
        ),
        ("counts", "keep no count"),
        ("draws", "draw nothing at random"),
        ("inplace", "changes its inputs in place"),
        ("adapts", "changes a parameter or a buffer"),
        ("normalises", "cannot score an image alone .*Expected more than 1 value"),
        ("stays", "leaves the model in training mode"),
    ],
)
def test_scores_that_do_not_come_from_the_image_alone_end_the_run(
    name: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFault, match=f"^{name}: .*{words}"):
        run(name, tmp_path)
    assert not list(tmp_path.glob("**/record.json"))


@pytest.mark.parametrize(
    "name", ["Averages", "Counts", "Draws", "InPlace", "Adapts", "Normalises", "Stays"]
)
def test_and_the_checks_find_them_too(name: str) -> None:
    only = ["scores_of_each_image", "scoring_leaves_no_trace"]
    assert any(result.failed for result in check_model(TOYS[name], only=only, raise_=False))
    assert not any(result.failed for result in check_model(cheats.Honest, only=only, raise_=False))


@pytest.mark.parametrize("name", ["searches", "climbs", "behind", "quiet"])
def test_a_model_that_goes_for_the_test_images_is_named_or_gains_nothing(
    name: str, honest: Result, tmp_path: Path
) -> None:
    try:
        result = run(name, tmp_path)
    except ZslkitError as error:
        assert str(error).startswith(
            f"{name}: training asked for images that are not in its training set"
        )
        assert not list(tmp_path.glob("**/record.json"))
    else:
        assert result.metrics == honest.metrics


@pytest.mark.slow
def test_labels_of_test_images_are_in_no_object_while_a_model_trains_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(1).permutation(cheats.SEEN + cheats.UNSEEN)
    monkeypatch.setattr(cheats.Sorted, "order", order)
    cheats.Looks.kept.clear()
    cheats.Looks.looked.clear()
    run("looks", tmp_path)
    assert cheats.Looks.looked == {"fit", "scores"}
    assert cheats.Looks.kept == []


def test_labels_looked_for_while_scoring_are_not_found(honest: Result, tmp_path: Path) -> None:
    assert run("reads", tmp_path).metrics == honest.metrics


def double_code() -> None:
    torch.nn.functional.normalize.__code__ = (
        lambda input, p=2.0, dim=1, eps=1e-12, out=None: input
    ).__code__


def everywhere() -> None:
    torch.nn.modules.module.register_module_forward_hook(lambda module, given, made: made)


DEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "type": (lambda: torch.set_default_dtype(torch.float64), "torch's default type, which"),
    "gradients": (lambda: torch.set_grad_enabled(False), "whether torch records gradients"),
    "threads": (
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        "torch's number of threads",
    ),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True),
        "whether torch is deterministic",
    ),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), "products of matrices"),
    "denormal": (lambda: torch.set_flush_denormal(True), "denormal numbers"),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "autocast of cpu"),
    "cudnn": (lambda: setattr(torch.backends.cudnn, "benchmark", True), "cuDNN's benchmark"),
    "device": (lambda: torch.set_default_device("meta"), "default device"),
    "hook": (everywhere, "hooks of all modules"),
    "seed": (lambda: cheats.counted(torch, "manual_seed"), "torch.manual_seed"),
    "code": (double_code, "normalize"),
    "numpy seed": (lambda: cheats.counted(np.random, "seed"), "numpy.random.seed"),
    "python seed": (lambda: cheats.counted(random, "seed"), "random.seed"),
    "method": (
        lambda: setattr(torch.Tensor, "argmax", lambda self, dim=None: self.argmin(dim)),
        "Tensor.argmax",
    ),
    "built-in": (
        lambda: setattr(zslkit.evaluation.metrics, "len", lambda table: 1),
        "zslkit.evaluation.metrics.len",
    ),
    "numpy": (lambda: np.seterr(all="raise"), "NumPy's error handling"),
    "warnings": (lambda: warnings.simplefilter("error"), "warnings that are raised as errors"),
    "logging": (lambda: logging.disable(logging.CRITICAL), "logging is silenced"),
    "evaluator": (
        lambda: cheats.counted(zslkit.runs.execute, "measure"),
        "zslkit.runs.execute.measure",
    ),
    "metric": (
        lambda: (
            setattr(zslkit.evaluation.metrics.Curve, "__post_init__", lambda self: None)
            or cheats.counted(zslkit.evaluation.metrics, "seen_unseen_margin_of")
        ),
        "zslkit.evaluation.metrics.seen_unseen_margin_of",
    ),
    "evaluator's code": (
        lambda: setattr(
            zslkit.evaluation.gzsl.measure, "__code__", (lambda sets, gamma=0.0: None).__code__
        ),
        "zslkit.evaluation.gzsl.measure",
    ),
    "trace": (lambda: sys.settrace(lambda *given: None), "what traces Python"),
    "profile": (lambda: sys.setprofile(lambda *given: None), "what profiles Python"),
    "signal": (lambda: signal.signal(signal.SIGALRM, lambda *given: None), "what signals call"),
    "timer": (lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 500), "timers that send signals"),
    "writer": (
        lambda: cheats.counted(np.lib.format, "write_array"),
        "numpy.lib.format.write_array",
    ),
    "archive": (lambda: cheats.counted(zipfile.ZipFile, "open"), "zipfile.ZipFile.open"),
    "rename": (lambda: cheats.counted(os, "replace"), "os.replace"),
    "tolerance": (
        lambda: setattr(zslkit.training.rescoring, "CLEAR", 10.0),
        "zslkit.training.rescoring.CLEAR",
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_all_models_share_is_put_back_and_who_changes_it_is_named(
    deed: str, honest: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do, words = DEEDS[deed]
    monkeypatch.setattr(cheats.Meddles, "deed", staticmethod(do))
    before = State()
    with pytest.raises(ModelFault, match=f"^meddles: it changes .*{words}"):
        run("meddles", tmp_path)
    assert before.moved() == []
    assert not list(tmp_path.glob("**/record.json"))


@pytest.mark.parametrize("kind", ["own function", "timer"])
def test_a_thread_that_outlives_the_training_is_told_before_labels_are_in_reach(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, started = threading.Event(), []

    def deed() -> None:
        # As if the function stood in the file of the model.
        made = cheats.thread(kind, end)
        made.daemon = True
        made.start()
        started.append(made)

    monkeypatch.setattr(cheats.Meddles, "deed", staticmethod(deed))
    try:
        with pytest.raises(ModelFault, match=r"^meddles: its thread .* still runs"):
            run("meddles", tmp_path)
    finally:
        end.set()
        for thread in started:
            getattr(thread, "cancel", lambda: None)()
            thread.join()
    assert not list(tmp_path.glob("**/record.json"))


def test_a_thread_of_a_library_and_one_that_has_ended_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()
    library = threading.Thread(target=end.wait, daemon=True)

    def deed() -> None:
        library.start()
        ended = cheats.thread("own function", end := threading.Event())
        ended.start()
        end.set()
        ended.join()

    monkeypatch.setattr(cheats.Meddles, "deed", staticmethod(deed))
    try:
        assert run("meddles", tmp_path).metrics
    finally:
        end.set()
        library.join()


def test_a_dataset_may_change_as_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cheats.Sorted, "deed", staticmethod(lambda: torch.set_default_dtype(torch.float64))
    )
    with pytest.raises(ModelFault, match=r"^sorted: it changes torch's default type"):
        run("honest", tmp_path)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("deed", ["precision", "seed", "evaluator"])
def test_the_checks_find_a_model_that_changes_what_is_shared(
    deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do, words = DEEDS[deed]
    monkeypatch.setattr(cheats.Meddles, "deed", staticmethod(do))
    before = State()
    (result,) = [
        r for r in check_model(cheats.Meddles, only=["no_global_state"], raise_=False) if r.failed
    ]
    assert (result.check, words in result.message, before.moved()) == ("no_global_state", True, [])


@pytest.mark.slow
def test_an_optimiser_is_no_change() -> None:
    code = "import torch; from zslkit.utils.library_state import State; state = State()\n"
    code += (
        "torch.optim.Adam([torch.zeros(1, requires_grad=True)]); assert state.moved() == [], "
        "state.moved()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # in a process that has made none yet


def test_a_run_begins_with_the_settings_that_zslkit_found(honest: Result, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert run("honest", tmp_path).metrics == honest.metrics
        assert torch.get_default_dtype() == torch.float64  # which is the caller's
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("torch.manual_seed = lambda seed: None", "the function|torch.manual_seed"),
        ("torch.set_float32_matmul_precision('medium')", "products of matrices"),
        ("import zslkit.evaluation.gzsl as g; g.measure = None", "zslkit.evaluation.gzsl.measure"),
    ],
)
def test_a_plugin_that_changes_what_is_shared_when_it_is_imported_is_broken(
    deed: str, words: str, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moves.py").write_text(
        f"import torch\nfrom cheats import Honest\n{deed}\nclass Moves(Honest): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "moves", raising=False)
    monkeypatch.setattr(registry, "_SPOILT", {})
    before = State()
    for _ in range(2):  # the second time it is imported already
        with pytest.raises(BrokenPlugin, match=f"'moves' .* importing it changes .*({words})"):
            run("moves", tmp_path)
        assert before.moved() == []
