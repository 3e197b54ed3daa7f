"""Archives that can be downloaded: those that a dataset declares, and those that several share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field

from zslkit.config import Config, build
from zslkit.config.merge import Settings
from zslkit.errors import UnknownName, UserError, did_you_mean
from zslkit.registry import DATASETS, BrokenPlugin, is_card


def _below(path: str) -> str:
    """Check that a path is relative and stays below its folder."""
    pure = PurePosixPath(path)
    odd = "\\" in path or "\0" in path or ".." in pure.parts
    if odd or pure.is_absolute() or not pure.parts or ":" in pure.parts[0]:
        raise ValueError("it is no relative path that stays below its folder")
    return pure.as_posix()


def _url(url: str) -> str:
    odd = any(c.isspace() or not c.isprintable() for c in url)
    if odd or not url.startswith(("http://", "https://")):
        raise ValueError("it is no http:// or https:// address")
    return url


Below = Annotated[str, AfterValidator(_below)]
Url = Annotated[str, AfterValidator(_url)]


class Download(Config):
    """One archive: its addresses, the place of its contents, and paths that show it is unpacked."""

    file: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of the archive, its own among all datasets; mirrors call it so too",
    )
    urls: tuple[Url, ...] = Field(
        min_length=1, description="addresses of the whole archive, tried in order"
    )
    folder: Below = Field(description="where its contents go, below the data root")
    holds: tuple[Below, ...] = Field(
        min_length=1,
        description=(
            "paths below `folder` that are there once it is unpacked; the archive's folder that "
            "holds them is taken"
        ),
    )
    only: tuple[Below, ...] = Field((), description="take only these folders of it; empty: all")
    size: int | None = Field(None, gt=0, description="bytes, about")
    licence: str = ""
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


@cache
def shared() -> Mapping[str, Download]:
    """Archives of `sources.yaml` by name; any dataset may refer to them."""
    text = (resources.files("zslkit.acquire") / "sources.yaml").read_text(encoding="utf-8")
    return {
        name: build(Download, Settings(fields), f"sources.yaml: {name}")
        for name, fields in yaml.safe_load(text).items()
    }


def read_downloads(where: str, said: Sequence[str | Mapping[str, Any]]) -> list[Download]:
    """Parse the `downloads` of a dataset source (zslkit.dataset.DatasetSource).

    Raises:
        UserError: Names the item and the rule it breaks.
    """
    if isinstance(said, (str, Mapping)):
        raise UserError(
            f"{where}: downloads is a {type(said).__name__}; put brackets around it: it is a "
            "sequence of them"
        )
    found = []
    for k, item in enumerate(said):
        place = f"{where}: downloads[{k}]"
        values = {"shared": item} if isinstance(item, str) else dict(item)
        if "shared" not in values:
            found.append(build(Download, Settings(values), place))
            continue
        name = values.pop("shared")
        if name not in shared():
            raise UserError(
                f"{place}: there is no shared archive {name!r}{did_you_mean(str(name), shared())}"
            )
        if unknown := set(values) - {"holds"}:
            raise UserError(
                f"{place}: beside shared there may be holds, and not {min(unknown)!r}; leave it out"
            )
        found.append(build(Download, Settings({**shared()[name].model_dump(), **values}), place))
    return found


def downloads_of(name: str) -> list[Download]:
    """Archives of the dataset `name`, or the shared archive with this name.

    Raises:
        UnknownName: There is no such dataset or archive; suggests a similar one.
        NameClash: Two distributions register this name.
        BrokenPlugin: The `downloads` of a source are invalid.
        UserError: The dataset declares no downloads, or is a card.
    """
    if is_card(name):
        raise UserError(
            f"{name}: a card describes files that are there already; name a registered dataset "
            "(zslkit datasets)"
        )
    try:
        entry, source = DATASETS.load(name)
    except UnknownName as error:
        if name in shared():
            return [shared()[name]]
        raise UnknownName(
            "dataset", name, [*error.known, *shared()], "List them with: zslkit datasets"
        ) from error
    try:
        found = read_downloads(entry.name, source.downloads)
    except UserError as error:
        raise BrokenPlugin(entry, str(error)) from error
    except (TypeError, ValueError) as error:  # the attribute of a plugin may be anything
        raise BrokenPlugin(entry, f"its downloads cannot be read ({error})") from error
    if not found:
        raise UserError(
            f"The dataset {name!r} declares nothing to download; `zslkit datasets` says where it "
            "is from"
        )
    return found


def needed(names: Iterable[str]) -> list[Download]:
    """Archives of several datasets, each once, in order.

    Raises:
        UserError: As `downloads_of`, or two different archives have the same file name.
    """
    plan: dict[str, Download] = {}
    for name in names:
        for download in downloads_of(name):
            known = plan.setdefault(download.file, download)
            if known.model_copy(update={"holds": download.holds}) != download:
                raise UserError(
                    f"{name}: another dataset has an archive {download.file} too, and not the "
                    "same; download them one by one"
                )
            plan[download.file] = known.model_copy(
                update={"holds": tuple(dict.fromkeys(known.holds + download.holds))}
            )
    return list(plan.values())
