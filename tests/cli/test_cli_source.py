"""Reading a class from its source text, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zslkit.cli.source import Fault, constant, derives, facts, locate, missing_imports

TRAP = "raise RuntimeError('this module must not be imported')\n"


@pytest.fixture
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A package of its own name on sys.path that explodes when it is imported."""
    name = "src_" + request.node.name.removeprefix("test_")[:40].replace("[", "_").replace("]", "")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(TRAP)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    assert name not in sys.modules


def write(package: Path, module: str, text: str) -> str:
    path = package.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(TRAP + text)
    return f"{package.name}.{module}"


def test_literals_and_first_docstring_line_are_read(package: Path) -> None:
    module = write(
        package,
        "mine",
        '''
class Mine:
    """Scores by distance.

    More words.
    """
    inputs: "tuple" = ("pooled", "map")
    citation = ("Somebody, "
                "2024")
    computed = len("abc")
    label: str
''',
    )
    said = facts(f"{module}:Mine")
    assert said.description == "Scores by distance."
    assert said.values == {"inputs": ("pooled", "map"), "citation": "Somebody, 2024"}


def test_base_in_the_module_fills_what_the_class_leaves_out(package: Path) -> None:
    module = write(package, "mine", "class A:\n    x = 1\n    y = 1\nclass B(A):\n    y = 2\n")
    assert facts(f"{module}:B").values == {"x": 1, "y": 2}


def test_base_in_a_sibling_module_and_reexport_are_followed(package: Path) -> None:
    write(package, "base", "class A:\n    x = 1\n")
    write(package, "mine", "from .base import A as Parent\nclass B(Parent):\n    y = 2\n")
    (package / "__init__.py").write_text(TRAP + "from .mine import B\n")
    assert facts(f"{package.name}:B").values == {"x": 1, "y": 2}


def test_defaults_of_the_contract_come_from_its_own_source(package: Path) -> None:
    module = write(
        package,
        "mine",
        "from zslkit.model import GradientModel\nclass B(GradientModel):\n    citation = 'c'\n",
    )
    said = facts(f"{module}:B").values
    assert (said["inputs"], said["protocol"], said["citation"]) == (("map",), "inductive", "c")
    assert said["contract"] == constant("zslkit.model", "CONTRACT") == 1


def test_module_constants_count_as_literals(package: Path) -> None:
    module = write(package, "mine", "SEVEN = 7\nclass A:\n    contract = SEVEN\n")
    assert facts(f"{module}:A").values == {"contract": 7}


def test_classes_inside_try_and_inside_classes_are_found(package: Path) -> None:
    module = write(
        package,
        "mine",
        "try:\n    class A:\n        class Inner:\n            x = 1\nexcept ImportError:\n    "
        "pass\n",
    )
    assert facts(f"{module}:A.Inner").values == {"x": 1}


def test_classes_that_inherit_from_each_other_do_not_hang(package: Path) -> None:
    module = write(package, "mine", "class A(B):\n    x = 1\nclass B(A):\n    y = 2\n")
    assert facts(f"{module}:A").values == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    "text",
    ["Made = make()", "from elsewhere import Made", "from elsewhere import *", "def Made(): ..."],
)
def test_a_name_bound_in_another_way_is_unknown_but_no_fault(package: Path, text: str) -> None:
    assert facts(f"{write(package, 'mine', text)}:Made").values == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class A: ...", False),
        ("class B: ...\nclass A(B): ...", False),
        ("def A(): ...", False),
        ("from zslkit.model import GradientModel\nclass A(GradientModel): ...", True),
        ("from zslkit.model import Model as M\nclass B(M): ...\nclass A(B): ...", True),
        ("from elsewhere import B\nclass A(B): ...", None),
        ("import elsewhere\nclass A(elsewhere.B): ...", None),
        ("A = make()", None),
    ],
    ids=list("12345678"),
)
def test_a_class_is_a_model_or_not_or_unknown(package: Path, text: str, told: bool | None) -> None:
    assert derives(f"{write(package, 'mine', text)}:A", "zslkit.model:Model") is told


def test_imports_that_lead_nowhere_are_named_unless_the_module_can_do_without(
    package: Path,
) -> None:
    text = (
        "import json, nosuch.deep, torch\nfrom nowhere.else_ import y\nfrom .sibling import "
        "z\nimport xml\n"
        "try:\n    import optional_one\nexcept ImportError: ...\ndef late():\n    import late_one\n"
    )
    assert missing_imports(write(package, "mine", text)) == ["nosuch", "nowhere"]


def test_faults_name_the_place(package: Path) -> None:
    module = write(package, "mine", "class A: ...\n")
    broken = write(package, "broken", "class A(:\n")
    with pytest.raises(Fault, match=f"{module} has no class B"):
        facts(f"{module}:B")
    with pytest.raises(Fault, match=r"no class Inner|no class A\.Inner"):
        facts(f"{module}:A.Inner")
    with pytest.raises(Fault, match=r"broken\.py, line 2"):
        facts(f"{broken}:A")
    with pytest.raises(Fault, match="nowhere is not there"):
        facts(f"{package.name}.nowhere:A")
    with pytest.raises(Fault, match="is not there"):
        facts("src_no_such_package.deep.down:A")


def test_a_module_is_no_package(package: Path) -> None:
    module = write(package, "mine", "")
    with pytest.raises(Fault, match="is not there"):
        locate(f"{module}.inner")


def test_damaged_bytes_are_a_fault(package: Path) -> None:
    (package / "mine.py").write_bytes(b"x = '\xff\xfe'\n")
    with pytest.raises(Fault, match=r"mine\.py"):
        facts(f"{package.name}.mine:A")
