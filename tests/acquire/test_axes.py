"""Which axis of a file holds what: class attributes that lie the other way round, and channels of
maps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_files import WRITERS, Go, N, h5, held, npz, opened
from spoilt import LABELS

# --- class attributes that lie the other way round
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS)
def test_a_transposed_table_is_turned_where_the_labels_allow_one_reading(
    go: Go, write: Any
) -> None:
    table = held()["original_att"]
    code, text = go("data", "import", write(held(original_att=table.T)), "--out", "made")
    assert code == 0 and "it was turned to 3 classes x 4 attributes" in text
    assert opened().semantics.attributes.tolist() == table.tolist()


def test_names_vectors_and_unit_length_tell_the_axes_where_labels_do_not(go: Go) -> None:
    table = np.arange(1.0, 21).reshape(
        4, 5
    )  # a class more than the labels have, so that 4 and 5 are both possible
    evidence: dict[str, Any] = {
        "class_names": np.array(["auk", "crow", "wren", "gull"], dtype="S4"),
        "attribute_names": np.array([b"a", b"b", b"c", b"d", b"e"]),
        "w2v_att": np.ones((5, 2)),
        "att": table / np.linalg.norm(table, axis=1, keepdims=True),
    }
    for k, (name, told) in enumerate(evidence.items()):
        turned = told.T if name == "att" else told
        code, text = go(
            "data", "import", h5(held(original_att=table.T, **{name: turned})), "--out", f"made{k}"
        )
        assert code == 0 and "turned to 4 classes x 5" in text, (name, text)
        assert opened(f"made{k}/card.yaml").semantics.attributes.tolist() == table.tolist()


@pytest.mark.parametrize(
    "table",
    [np.arange(2.0, 22).reshape(4, 5), np.arange(1.0, 10).reshape(3, 3)],
    ids=["a class without image", "square"],
)
def test_a_table_that_may_be_read_in_two_ways_is_asked_about(go: Go, table: np.ndarray) -> None:
    file = h5(held(original_att=table))
    code, text = go("data", "import", file, "--out", "made")
    assert code == 2 and re.search(
        r"shape \(\d, \d\), and nothing shows .* say --table-rows classes or --table-rows "
        r"attributes",
        text,
    )
    for rows, right in (("classes", table), ("attributes", table.T)):
        assert go("data", "import", file, "--out", rows, "--table-rows", rows)[0] == 0
        assert opened(f"{rows}/card.yaml").semantics.attributes.tolist() == right.tolist()
    code, text = go("data", "import", h5(held()), "--out", "no", "--table-rows", "attributes")
    assert code == 0 or "leave --table-rows away" in text


@pytest.mark.parametrize("write", [h5, npz])
def test_labels_that_count_from_1_and_use_all_classes_tell_the_axes(go: Go, write: Any) -> None:
    table = held()[
        "original_att"
    ]  # 4 attributes: labels 1..3 of 4 classes from 0 would leave one without images
    for k, held_table in enumerate((table, table.T)):
        assert (
            go(
                "data",
                "import",
                write(held(original_att=held_table, labels=LABELS + 1)),
                "--out",
                f"made{k}",
            )[0]
            == 0
        )
        assert opened(f"made{k}/card.yaml").semantics.attributes.tolist() == table.tolist()


# --- which axis holds the channels
# --------------------------------------------------------------------------------------------------


def telling(d: int, h: int, w: int) -> np.ndarray:
    """Maps (N, D, H, W) of which every value tells image, channel, row and column."""
    i, c, y, x = np.ogrid[:N, :d, :h, :w]
    return (1000 * i + 100 * c + 10 * y + x).astype(np.float32)


def with_token(maps: np.ndarray) -> np.ndarray:
    """(N, D, 1 + R): a class token of -1 before the positions."""
    return np.concatenate(
        [np.full((*maps.shape[:2], 1), -1, np.float32), maps.reshape(*maps.shape[:2], -1)], axis=2
    )


def flat(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:2], -1)


READ = {  # what lies in the file, (D, H, W) that it means, whether the file alone tells
    "channels first": (lambda m: m, (9, 2, 2), True),
    "channels first, unequal sides": (lambda m: m, (12, 2, 3), True),
    "positions flat": (flat, (11, 3, 3), True),
    "channels last": (lambda m: m.transpose(0, 2, 3, 1), (9, 3, 3), False),
    "channels last, square sides": (lambda m: m.transpose(0, 2, 3, 1), (11, 2, 2), True),
    "channels last, unequal sides": (lambda m: m.transpose(0, 2, 3, 1), (12, 2, 3), True),
    "tokens": (lambda m: flat(m).transpose(0, 2, 1), (11, 3, 3), True),
    "tokens, square channels": (lambda m: flat(m).transpose(0, 2, 1), (16, 3, 3), False),
    "tokens, a square and one more channels": (
        lambda m: flat(m).transpose(0, 2, 1),
        (17, 3, 3),
        False,
    ),
    "tokens and a class token": (lambda m: with_token(m).transpose(0, 2, 1), (11, 3, 3), True),
    "a class token, channels first": (with_token, (11, 3, 3), True),
}


@pytest.mark.parametrize("kind", READ)
def test_every_value_of_a_map_comes_to_its_place(go: Go, kind: str) -> None:
    lay, shape, told = READ[kind]
    maps = telling(*shape)
    order = "channels-last" if kind.startswith(("channels last", "tokens")) else "channels-first"
    file = h5(held(feature_map=np.ascontiguousarray(lay(maps))))
    if kind != "channels last":
        code, text = go("data", "import", file, "--out", "made", "--dtype", "float32")
        assert (code == 0) == told, text
        assert told or re.search(
            r"nothing shows which axis holds the channels; say --layout channels-first \(.*\) or",
            text,
        )
        assert order == "channels-first" or not told or f"note:       {order}: " in text
        assert ("class token and is left out" in text) == ("class token" in kind)
    code, text = go(
        "data", "import", file, "--out", "said", "--dtype", "float32", "--layout", order
    )
    assert code == 0, text
    for place in ("made", "said") if Path("made").exists() else ("said",):
        store = opened(f"{place}/card.yaml").maps
        assert store is not None
        assert torch.equal(store.maps(np.arange(N)), torch.from_numpy(maps))
        assert torch.allclose(store.pooled(np.arange(N)), torch.from_numpy(maps.mean((2, 3))))


@pytest.mark.parametrize(
    "shape",
    [
        (49, 256),
        (196, 64),
        (197, 16),
        (256, 49),
        (1024, 49),
        (257, 196),
        (49, 49),
        (84, 256),
        (256, 84),
        (1024, 768),
    ],
)
def test_axis_1_that_may_be_positions_is_asked_about(go: Go, shape: tuple[int, int]) -> None:
    code, text = go(
        "data", "import", h5(held(feature_map=np.zeros((N, *shape), np.float16))), "--out", "made"
    )
    assert code == 2 and "say --layout channels-" in text, text


@pytest.mark.parametrize("shape", [(14, 14, 8), (8, 8, 8), (16, 32, 100), (3, 14, 14)])
def test_four_axes_that_do_not_tell_are_asked_about(go: Go, shape: tuple[int, ...]) -> None:
    code, text = go(
        "data", "import", h5(held(feature_map=np.zeros((N, *shape), np.float16))), "--out", "made"
    )
    assert (
        code == 2 and "say --layout channels-first" in text and "or --layout channels-last" in text
    ), text


@pytest.mark.parametrize(
    "shape",
    [
        (2048, 49),
        (2048, 196),
        (512, 144),
        (2048, 7, 7),
        (64, 7, 7),
        (512, 7, 9),
        (768, 14, 14),
        (2048, 1, 1),
    ],
)
def test_maps_as_networks_give_them_are_read_without_a_question(
    go: Go, shape: tuple[int, ...]
) -> None:
    code, text = go(
        "data",
        "import",
        h5(held(feature_map=np.zeros((N, *shape), np.float16))),
        "--out",
        "made",
        "--json",
    )
    assert (
        code == 0
        and json.loads(text[text.index("{") : text.rindex("}") + 1])["features"][0] == shape[0]
    ), text


def test_two_layouts_of_one_file_have_two_identities(go: Go) -> None:
    file = h5(held(feature_map=telling(4, 4, 4)))
    prints = []
    for order in ("channels-first", "channels-last"):
        assert (
            go("data", "import", file, "--out", order, "--name", "same", "--layout", order)[0] == 0
        )
        prints.append(json.loads(Path(order, "maps", "manifest.json").read_text())["key"])
    assert prints[0] != prints[1]


def test_an_option_that_does_not_fit_is_refused(go: Go) -> None:
    code, text = go("data", "import", h5(held()), "--out", "made", "--layout", "channels-last")
    assert code == 2 and "no positions; leave --layout away" in text
    code, text = go(
        "data",
        "import",
        h5(held(feature_map=np.zeros((N, 11, 9)))),
        "--out",
        "made",
        "--layout",
        "channels-last",
    )
    assert (
        code == 2 and "--layout channels-last needs positions on the axis after the images" in text
    )
