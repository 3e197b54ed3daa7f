"""Many runs at once: what a worker answers, and what the command makes of answers and of silence.
No process is started here."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import torch

from zslkit import __version__
from zslkit.cli import spread, worker
from zslkit.cli.failure import State
from zslkit.cli.many import QueuedRun, check_search, run_all, tell_failures, tries_of
from zslkit.cli.spread import Spread, answers
from zslkit.cli.worker import Lost, Order, Site, WorkerOrder, WorkerReply, make, unfit
from zslkit.errors import UserError
from zslkit.runs import api
from zslkit.training.search import TrialResult
from zslkit.utils.progress import PlainReporter, Silent

pytestmark = pytest.mark.slow

TWO = Spread(jobs=2)


def arguments(out: Path, seed: int = 0, model: str = "nosuch") -> dict[str, Any]:
    return {
        "model": model,
        "dataset": "digits",
        "seed": seed,
        "out": out,
        "data_root": Path("data"),
        "device": "cpu",
    }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    marker = tmp_path / "out" / ".jobs-1" / "alive"
    marker.parent.mkdir(parents=True)
    marker.touch()
    return Site(__version__, (str(marker),), None, str(tmp_path / "cache"), None, 2, 0, False)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
    """rounds(f, g): the first round yields what f makes of the orders, the second what g does.
    Gives the numbers that each was given."""

    def plan(*steps: Callable[[Sequence[Order]], Iterator[WorkerReply]]) -> list[list[int]]:
        given: list[list[int]] = []

        def given_out(orders: Sequence[Order], spread: Spread, site: Site) -> Iterator[WorkerReply]:
            given.append([order.number for order in orders])
            return steps[len(given) - 1](orders)

        monkeypatch.setattr(spread, "_given_out", given_out)
        return given

    return plan


def fine(orders: Sequence[Order]) -> Iterator[WorkerReply]:
    for order in orders:
        yield WorkerReply(order.number, folder="x")


def first_then_lost(orders: Sequence[Order]) -> Iterator[WorkerReply]:
    yield WorkerReply(orders[0].number, folder="x")
    raise Lost("a process was killed")


def lost(orders: Sequence[Order]) -> Iterator[WorkerReply]:
    raise Lost("a process was killed")
    yield


def test_an_order_and_its_answer_are_plain_data(site: Site, tmp_path: Path) -> None:
    order = Order(3, arguments(tmp_path), site)
    assert pickle.loads(pickle.dumps(order)) == order
    answer = make(order)  # of a model that nobody knows, whose own exception could not be sent
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert (answer.number, answer.exit_code, answer.unfit) == (3, 2, False)
    assert "There is no model 'nosuch'" in answer.sentence


def test_a_point_is_tried_as_the_search_of_the_run_would_try_it(site: Site, tmp_path: Path) -> None:
    chosen = {
        "settings": ("features.weights=random", "protocol.tune=true", "protocol.trials=3"),
        "trackers": (),
        "again": False,
    }
    made = api.run(**arguments(tmp_path, model="ridge") | chosen)
    rows = json.loads((made.folder / "search.json").read_text())
    orders = [
        Order(
            n,
            arguments(tmp_path, model="ridge") | chosen,
            site,
            dict(zip(("normalise", "lam"), point, strict=True)),
        )
        for n, point in enumerate((r["point"]["normalise"], float(r["point"]["lam"])) for r in rows)
    ]
    told = [make(pickle.loads(pickle.dumps(order))) for order in orders]
    assert [answer.figures for answer in told] == [row["figures"] for row in rows] and len(rows) > 1
    assert {answer.sentence for answer in told} == {""}
    hopeless = make(Order(9, orders[0].arguments, site, {"lam": "much"}))
    assert hopeless.figures is None and (hopeless.exit_code, "lam" in hopeless.sentence) == (
        2,
        True,
    )


def test_only_what_was_lost_is_given_out_again(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    given = rounds(first_then_lost, fine)
    done = list(answers([arguments(tmp_path, seed) for seed in range(3)], TWO, False))
    assert given == [[0, 1, 2], [1, 2]]
    assert [(a.number, a.sentence) for a in done] == [(0, ""), (1, ""), (2, "")]


def test_what_is_lost_twice_is_told_and_stops_no_other(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    given = rounds(first_then_lost, first_then_lost, lost)
    done = {
        a.number: a for a in answers([arguments(tmp_path, seed) for seed in range(3)], TWO, False)
    }
    assert given == [[0, 1, 2], [1, 2], [2]]  # alone in the end, so that it takes no other along
    assert [done[n].sentence for n in (0, 1)] == ["", ""]
    assert done[2].exit_code == 1
    assert (
        "lost twice (a process was killed)" in done[2].sentence
        and "fewer --jobs" in done[2].sentence
    )


def test_the_markers_live_as_long_as_the_command(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def look(orders: Sequence[Order]) -> Iterator[WorkerReply]:
        assert all(Path(marker).is_file() for marker in orders[0].site.markers)
        yield from fine(orders)

    rounds(look)
    list(answers([arguments(out)], TWO, False))
    assert list(out.iterdir()) == []


def test_a_worker_that_does_not_see_the_files_stops_the_command(
    rounds: Callable[..., list[list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.0)

    def elsewhere(orders: Sequence[Order]) -> Iterator[WorkerReply]:
        for order in orders:
            yield make(
                replace(order, site=replace(order.site, markers=("/nowhere/.jobs-1/alive",)))
            )

    rounds(elsewhere)
    with pytest.raises(
        UserError,
        match=r"does not see what this command sees in /nowhere; --out, --data-root and the cache",
    ):
        list(answers([arguments(tmp_path)], TWO, False))


def test_a_worker_is_fit_only_with_the_same_version_and_the_same_data(
    site: Site, tmp_path: Path
) -> None:
    assert unfit(site) == ""
    assert "install the same version" in unfit(replace(site, version="0"))
    assert "start another worker" in unfit(replace(site, command=worker.this_process()))
    data = tmp_path / "data"
    data.mkdir()
    (data / "SUN").mkdir()
    assert unfit(replace(site, listing=(str(data), ("SUN",)))) == ""
    assert str(data) in unfit(replace(site, listing=(str(data), ("CUB", "SUN"))))
    assert str(data / "no") in unfit(replace(site, listing=(str(data / "no"), ())))


def test_a_run_ends_when_its_command_is_gone(site: Site, tmp_path: Path) -> None:
    reporter = WorkerOrder(site.markers[0])
    with reporter.phase("train") as phase:
        phase.advance()
    Path(site.markers[0]).unlink()
    with pytest.raises(KeyboardInterrupt), reporter.phase("train"):
        pass


def test_an_interrupted_worker_interrupts_the_command(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    rounds(lambda orders: iter([WorkerReply(0, interrupted=True)]))
    with pytest.raises(KeyboardInterrupt):
        list(answers([arguments(tmp_path)], TWO, False))


def test_each_living_worker_has_a_number_of_its_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SLOTS", {})
    assert [worker._slot(site), worker._slot(site)] == [0, 0]
    monkeypatch.setattr(worker, "_SLOTS", {})  # as another process would see it
    assert worker._slot(site) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scheduler": "tcp://h:1"}, "--backend dask or --backend ray"),
        ({"backend": "dask"}, "--scheduler tcp://HOST:8786"),
        ({"backend": "ray", "jobs": 2}, "--jobs counts processes of this machine"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        Spread(**given)


def test_one_process_is_the_default_and_each_cuda_device_adds_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (Spread().processes("auto"), TWO.processes("auto")) == (1, 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [Spread().processes(d) for d in ("auto", "cuda", "cuda:1", "cpu")] == [4, 4, 1, 1]
    assert TWO.processes("auto") == 2


def test_the_cores_are_shared_out_unless_the_threads_are_given(
    rounds: Callable[..., list[list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int | None] = []

    def look(orders: Sequence[Order]) -> Iterator[WorkerReply]:
        threads.append(orders[0].site.threads)
        yield from fine(orders)

    monkeypatch.setattr("joblib.cpu_count", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    rounds(look, look)
    runs = [arguments(tmp_path, seed) for seed in range(8)]
    list(answers(runs, Spread(jobs=4), False))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    list(answers(runs, Spread(jobs=4), False))
    assert threads == [2, 3]


def test_the_last_points_of_a_search_get_the_threads_of_the_first(
    rounds: Callable[..., list[list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites: list[Site] = []

    def look(orders: Sequence[Order]) -> Iterator[WorkerReply]:
        sites.append(orders[0].site)
        yield from (WorkerReply(order.number, figures={"H": 1.0}) for order in orders)

    monkeypatch.setattr("joblib.cpu_count", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    rounds(look, look)
    executor = tries_of(arguments(tmp_path), Spread(jobs=4), State())
    assert executor is not None
    assert list(executor([{"a": 1}])) == [(0, TrialResult({"H": 1.0}))]
    assert len(list(executor([{"a": n} for n in range(8)]))) == 8
    assert [(site.workers, site.threads, site.command_threads) for site in sites] == [
        (4, 2, torch.get_num_threads())
    ] * 2


def test_a_point_that_fails_by_more_than_its_training_ends_the_search(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    rounds(
        lambda orders: iter(
            [
                WorkerReply(1, figures={"H": -1.0}, sentence="it diverged"),
                WorkerReply(0, sentence="no data", exit_code=2),
            ]
        )
    )
    executor = tries_of(arguments(tmp_path), TWO, State())
    assert executor is not None
    coming = iter(executor([{}, {}]))
    assert next(coming) == (1, TrialResult({"H": -1.0}, "it diverged"))
    with pytest.raises(UserError, match="no data"):
        next(coming)


def test_what_searches_nothing_has_nothing_to_spread() -> None:
    assert tries_of({"device": "cpu"}, Spread(), State()) is None
    choices = {"dataset": "digits", "config": None, "preset": None, "overrides": {}}
    check_search({"model": "ridge", "settings": ("protocol.tune=true",), **choices})
    with pytest.raises(UserError, match="without --tune"):
        check_search({"model": "ridge", "settings": ("protocol.tune=false",), **choices})
    with pytest.raises(UserError, match="dazle declares no grid"):
        check_search({"model": "dazle", "settings": ("protocol.tune=true",), **choices})


def test_failed_runs_are_named_at_the_end_in_the_order_of_the_jobs(
    rounds: Callable[..., list[list[int]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = WorkerReply(1, sentence="no data", exit_code=2)
    rounds(lambda orders: iter([refused, WorkerReply(0, sentence="no weights")]))
    jobs = [QueuedRun(name, 0, arguments(tmp_path)) for name in "ab"]
    stream = io.StringIO()
    results, failures = run_all(jobs, State(), PlainReporter(stream), TWO)
    assert results == []
    assert tell_failures(failures) == 1
    told = "zslkit: a (seed 0) failed: no weights\nzslkit: b (seed 0) failed: no data\n"
    assert capsys.readouterr().err == told
    assert tell_failures([]) == 0
    assert "b, seed 0: failed (1 of 2)\na, seed 0: failed (2 of 2)" in stream.getvalue()


def test_one_mistake_of_all_runs_is_raised_as_it_is(
    rounds: Callable[..., list[list[int]]], tmp_path: Path
) -> None:
    rounds(lambda orders: map(make, orders))
    jobs = [QueuedRun("nosuch", seed, arguments(tmp_path, seed)) for seed in range(2)]
    with pytest.raises(UserError, match="There is no model 'nosuch'"):
        run_all(jobs, State(), Silent(), TWO)


def test_a_full_disk_ends_all_runs(rounds: Callable[..., list[list[int]]], tmp_path: Path) -> None:
    full = WorkerReply(0, sentence="The disk is full", disk_full=True)
    given = rounds(lambda orders: iter([full, WorkerReply(1, sentence="never asked")]))
    jobs = [QueuedRun("a", seed, arguments(tmp_path)) for seed in range(2)]
    with pytest.raises(Exception, match="The disk is full"):
        run_all(jobs, State(), Silent(), TWO)
    assert len(given) == 1


class Client:
    """As much of a Dask client as is looked at, with one task in that state."""

    def __init__(self, status: str, state: str, error: BaseException | None) -> None:
        self.status, self.futures = status, {"task": SimpleNamespace(status=state, exception=error)}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_what_dask_gives_up_is_noticed_though_joblib_waits_for_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")

    def waiting(orders: Sequence[Order]) -> Iterator[WorkerReply]:
        for _ in range(6000):  # as joblib waits
            time.sleep(0.01)
        yield from fine(orders)

    def outcome(*client: Any) -> BaseException:
        monkeypatch.setattr(distributed, "Client", lambda *_, **__: Client(*client))
        with pytest.raises(Exception) as caught:
            list(spread._given_out([], Spread(backend="dask", scheduler="tcp://h:1"), site))
        return caught.value

    monkeypatch.setattr(spread, "_made", waiting)
    monkeypatch.setattr("joblib.parallel_config", lambda **_: nullcontext())
    killed = distributed.KilledWorker("task", SimpleNamespace(address="tcp://h:2"), 3)
    assert isinstance(outcome("running", "error", killed), Lost)
    absent = outcome("running", "error", ModuleNotFoundError("No module named 'zslkit'"))
    assert isinstance(absent, UserError) and "No module named 'zslkit'); install zslkit" in str(
        absent
    )
    gone = outcome("closed", "finished", None)
    assert "scheduler at tcp://h:1 was lost" in str(gone) and not isinstance(gone, UserError)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed here")
def test_a_cluster_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--backend ray needs ray, .* pip install 'zslkit\[ray\]'"):
        list(answers([arguments(tmp_path)], Spread(backend="ray"), False))
