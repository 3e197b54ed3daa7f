"""Without a network, weights are asked for once, and one sentence says that they are not here."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from zslkit.config import FeatureConfig
from zslkit.errors import MissingWeights, UserError
from zslkit.features.backbones import load_backbone
from zslkit.readers.sentence_encoder import Encoder
from zslkit.utils.network import answers, hub


@contextmanager
def server(answer: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """Address of a server that sends `answer` and hangs up (None: is silent), and its requests."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                asked.append(connection.recv(65536))
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()
                else:
                    held.append(connection)

        held: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(("answer", "reached"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", True),
    (b"HTTP/1.1 404 Not Found\r\n\r\n", True),  # there, and the library says what it lacks
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False),
    (b"", False),
    (None, False),
])  # fmt: skip
def test_a_server_answers_or_does_not(answer: bytes | None, reached: bool) -> None:
    with server(answer) as (address, asked):
        assert answers(address, 5.0 if answer is not None else 0.1) is reached
    assert len(asked) == 1


def test_a_name_that_nobody_knows_does_not_answer() -> None:
    assert not answers("http://nowhere.invalid")


@pytest.mark.parametrize("weights", ["hub", "auto"])
def test_weights_are_asked_for_once_and_told_in_one_sentence(
    weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with server(b"") as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/{revision}/{filename}"
        )
        with pytest.raises(MissingWeights) as told:
            load_backbone(FeatureConfig(backbone="test_resnet", weights=weights))
    assert len(asked) == 1
    assert str(told.value).startswith(
        "The pretrained weights of test_resnet are not on this machine and could not be fetched "
        "(127.0.0.1 does not answer); connect once, or "
    )
    assert "\n" not in str(told.value)


def test_a_sentence_encoder_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def SentenceTransformer(name: str, device: str) -> object:
            file_download.hf_hub_download(name, "modules.json")
            raise AssertionError("it is nowhere")

    monkeypatch.setitem(sys.modules, "sentence_transformers", Library)
    with server(b"") as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(UserError, match=r"'a/b' cannot be loaded \(127\.0\.0\.1 does not"):
            Encoder.load("a/b")
    assert len(asked) == 1


def test_libraries_are_offline_only_inside_and_only_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = socket.getdefaulttimeout()
    monkeypatch.setattr(constants, "ENDPOINT", "http://nowhere.invalid")
    with hub() as found:
        assert constants.HF_HUB_OFFLINE and found == "nowhere.invalid does not answer"
        assert socket.getdefaulttimeout() is not None
    assert not constants.HF_HUB_OFFLINE and socket.getdefaulttimeout() == before
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as (address, _):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with hub() as found:
            assert not constants.HF_HUB_OFFLINE and not found


def test_who_sets_offline_is_not_asked_for_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with hub() as found:
            assert "HF_HUB_OFFLINE" in found
    assert not asked and constants.HF_HUB_OFFLINE
