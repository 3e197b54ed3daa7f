"""One small archive to download, and what a data root holds once it is there."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path
from typing import Any

from fileserver import Site

from zslkit.acquire.sources import Download, read_downloads


def archive_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


BIRDS = archive_of(
    {"wrapped/classes.txt": b"wren", "wrapped/images/a.jpg": random.Random(0).randbytes(300_000)}
)
SHA256 = hashlib.sha256(BIRDS).hexdigest()
MD5 = hashlib.md5(BIRDS).hexdigest()


def birds(*sites: Site, **more: Any) -> Download:
    values = {
        "file": "birds.zip",
        "urls": [f"{s.url}/birds.zip" for s in sites],
        "folder": "birds",
        "holds": ["classes.txt"],
        **more,
    }
    return read_downloads("birds", [values])[0]


def asked(site: Site) -> list[str]:
    return [span for _, span in site.asked]


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


WHOLE = {
    ".zslkit", ".zslkit/downloads.json", ".zslkit/downloads.lock", "downloads",
    "downloads/birds.zip",
    "birds", "birds/classes.txt", "birds/images", "birds/images/a.jpg",
}  # fmt: skip
