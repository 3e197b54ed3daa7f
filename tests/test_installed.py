"""The wheel and the source distribution install outside the tree, whatever folders lie beside a
user's script."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from installs import install

ROOT = Path(__file__).parents[1]
DATA = (
    "zslkit/acquire/sources.yaml",
    "zslkit/datasets/cards/CUB.yaml",
    "zslkit/page/templates/page.html",
    "zslkit/report/published.yaml",
    "zslkit/templates/model/pyproject.toml.tmpl",
    "zslkit_dedn/presets/sun.yaml",
    "zslkit_baselines/presets/apn/cub.yaml",
    "zslkit_baselines/apn.py",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, the source distribution, and `site`, where the wheel is
    installed."""
    home = tmp_path_factory.mktemp("built")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\0")
    if not files[0]:
        pytest.skip("needs a git checkout, to build from the files of it alone")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (home / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (home / "tree" / name).write_bytes((ROOT / name).read_bytes())
    make = "from setuptools import build_meta as b; b.build_wheel('..'); b.build_sdist('..')"
    subprocess.run([sys.executable, "-c", make], cwd=home / "tree", check=True, capture_output=True)
    (wheel,) = home.glob("*.whl")
    install(home / "site", wheel)
    return home


@pytest.mark.slow
def test_both_distributions_hold_modules_presets_and_templates(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(DATA) <= names
    assert any(n.startswith("zslkit/datasets/weights/digits-") for n in names)
    assert not any(n.startswith(("baselines/", "tests/")) for n in names)
    with tarfile.open(source) as archive:
        inside = {n.partition("/")[2] for n in archive.getnames()}
    assert {"baselines/apn.py", "baselines/presets/apn/cub.yaml", "zslkit/model.py"} <= inside


@pytest.mark.slow
def test_a_folder_of_the_users_called_baselines_hides_no_model(built: Path, tmp_path: Path) -> None:
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "__init__.py").write_text("raise RuntimeError('the user's own')\n")
    script = (
        f"import sys; sys.path.insert(1, {str(built / 'site')!r})\n"
        "import zslkit; assert 'site' in zslkit.__file__, zslkit.__file__\n"
        "from importlib.metadata import entry_points\n"
        "found = [p for p in entry_points(group='zslkit.models') if p.dist.name == 'zslkit']\n"
        "models = {p.name: p.load().__module__ for p in found}\n"
        "assert len(models) >= 20 and models['ridge'] == 'zslkit_baselines.ridge', models\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
