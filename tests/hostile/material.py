"""Data and runs as somebody would make them who wants to do harm. Everything is made by code,
nothing of it ever runs."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from run_folders import make_run, random_scores

FOLDER_NAMES = (
    "<script>alert(1)</script>".replace("/", "\u2215"),
    "\x1b[2J\x1b]0;owned\x07red",
    "two\nlines",
    "\u202eright to left",
    "=cmd|' C calc'!A0",
    "$(touch MARKER); `touch MARKER`",
    "!!python object",
    '"><img src=x onerror=alert(1)>',
)
"""Names that a folder can have. The first has no plain slash for that reason."""

NAMES = (
    "<script>alert(1)</script>",
    *FOLDER_NAMES[1:],
    "../../up",
    "/etc/passwd",
    "x" * 10_000,
    r"\input{secret}",
    "!!python/object/apply:os.system ['true']",
)
"""Names that a file can hold."""


@dataclass(frozen=True)
class Trap:
    """Unpickled without care, it writes the file `marker`."""

    marker: str

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


def pickled(marker: Path) -> bytes:
    return pickle.dumps(Trap(str(marker)))


def object_array(path: Path, marker: Path) -> Path:
    """A .npy file whose object is a trap."""
    np.save(path, np.array([Trap(str(marker))], dtype=object), allow_pickle=True)
    return path


def torch_file(path: Path, marker: Path) -> Path:
    """A checkpoint in torch's format with a trap among its values."""
    torch.save(
        {"epoch": 1, "seconds": 0.0, "history": [], "model": Trap(str(marker)), "optimizer": {}},
        path,
    )
    return path


def huge_header(path: Path) -> Path:
    """A safetensors file that claims a header of an exabyte."""
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    return path


def claiming_png(path: Path, side: int = 60_000) -> Path:
    """A small PNG that says it is side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def bomb(path: Path, megabytes: int = 512) -> Path:
    """A scores.npz of half a megabyte whose first table unfolds to so many megabytes of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("test_seen_scores.npy", "w", force_zip64=True) as member:
            shape = (megabytes << 10, 256)
            np.lib.format.write_array_header_1_0(
                member, {"descr": "<f4", "fortran_order": False, "shape": shape}
            )
            for _ in range(megabytes):
                member.write(bytes(1 << 20))
        for name in (
            "test_seen_labels",
            "test_unseen_scores",
            "test_unseen_labels",
            "seen",
            "classes",
        ):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.zeros(0), allow_pickle=False)
    return path


NESTED = "[" * 100_000 + "]" * 100_000
LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
"""YAML of a kilobyte that means 9 to the power of 12 words."""


def python_yaml(marker: Path) -> str:
    return f"title: !!python/object/apply:os.system [\"touch '{marker}'\"]\nmodel: eszsl\n"


def sparse(path: Path, gigabytes: int = 1) -> Path:
    """A file that claims a gigabyte and takes no room."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(gigabytes << 30)
    return path


def named_run(out: Path, seed: int, **changes: Any) -> Path:
    """A whole run whose every name is one that wants to be more than a name."""
    scores = replace(random_scores(2.0, seed), classes=NAMES[:6])
    hostile = NAMES[seed % len(NAMES)]
    made: dict[str, Any] = {
        "model": {
            "name": hostile,
            "distribution": hostile,
            "version": hostile,
            "citation": hostile,
            "pretraining_note": hostile,
        },
        "dataset": {"name": hostile, "title": hostile, "published_as": hostile},
        "features": {"backbone": hostile, "weights": hostile},
        "environment": {"cpu": hostile, "platform": hostile, "device": hostile},
        "config": {"lr": 0.1, hostile.replace(".", "_"): hostile},
        "origins": {"lr": hostile},
    }
    make = out.parent / f"{out.name}-raw"
    folder = make_run(make, f"model{seed}", scores, seed, **changes)
    record = json.loads((folder / "record.json").read_text())
    for part, values in made.items():
        record[part] = {**record[part], **values} if part not in ("config", "origins") else values
    record["per_class"] = dict(zip(scores.classes, record["per_class"].values(), strict=True))
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text(json.dumps(record["config"]))
    (folder / "log.jsonl").write_text(
        "".join(
            json.dumps({"phase": "train", "epoch": k, hostile: 1.0 / k}) + "\n" for k in (1, 2, 3)
        )
    )
    target = out / "birds" / f"model{seed}" / folder.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)
    shutil.rmtree(make)
    return target


def card_folder(root: Path, names: tuple[str, ...] = FOLDER_NAMES) -> Path:
    """A dataset with a folder of images for each name, all of them allowed by the format. Returns
    its card."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for k, name in enumerate(names):
        (root / "images" / name).mkdir(parents=True)
        for i in range(4):
            picture = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            picture.save(root / "images" / name / f"{FOLDER_NAMES[k % len(FOLDER_NAMES)]}{i}.png")
    write_table(root / "attributes.csv", names)
    (root / "unseen.txt").write_text("\n".join(name for name in names[-2:]))
    card = root / "card.yaml"
    card.write_text(
        "name: trap\nimages: images\nattributes: attributes.csv\nunseen: unseen.txt\n"
        f"title: {json.dumps(FOLDER_NAMES[1])}\nlicence: {json.dumps(FOLDER_NAMES[0])}\n"
        "features: {backbone: test_resnet, weights: random, size: 32}\n"
    )
    return card


def write_table(path: Path, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["class", *(f"{NAMES[k]}" for k in range(5))])
        writer.writerows([name, *rng.random(5).round(3)] for name in names)
