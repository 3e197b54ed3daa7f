"""What the source never does, read from its syntax: run a pickle, a text or a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("zslkit", "zslkit_dedn", "baselines")
NEVER = {
    *(
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
    ),
    *(
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "marshal.load",
        "marshal.loads",
        "shelve.open",
        "joblib.load",
        "dill.load",
    ),
    *(
        "yaml.load",
        "yaml.load_all",
        "yaml.full_load",
        "yaml.unsafe_load",
        "yaml.Loader",
        "yaml.FullLoader",
        "yaml.UnsafeLoader",
    ),
    *("tempfile.mktemp", "shutil.unpack_archive", "pandas.read_pickle", "torch.hub.load"),
}
"""Names that stand nowhere in the source."""
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
"""Calls that stand only with that argument."""
METHODS = {"extractall": "zslkit.readers.archives unpacks member by member"}


def faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        name = dotted(node)
        if name in NEVER:
            yield f"line {node.lineno}: {name}"
        if isinstance(node, ast.Call):
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            called = dotted(node.func)
            if (
                called in ONLY_WITH
                and given.get(ONLY_WITH[called][0], "absent") is not ONLY_WITH[called][1]
            ):
                yield (
                    f"line {node.lineno}: {called} without "
                    f"{ONLY_WITH[called][0]}={ONLY_WITH[called][1]}"
                )
            if (
                given.get("shell", False) is not False
                or given.get("allow_pickle", False) is not False
            ):
                yield f"line {node.lineno}: shell or allow_pickle"
            if called.rpartition(".")[2] in METHODS:
                yield f"line {node.lineno}: {called}; {METHODS[called.rpartition('.')[2]]}"


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


@pytest.mark.parametrize("package", PACKAGES)
def test_no_pickle_no_text_and_no_shell_is_run(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(ROOT)}, {fault}"
        for file in files
        for fault in faults(file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(f)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "np.lib.format.read_array(f, allow_pickle=True)",
        "yaml.load(t, Loader=yaml.SafeLoader)",
        "subprocess.run(c, shell=True)",
        "subprocess.run(c, shell=asked)",
        "eval(t)",
        "tar.extractall(p)",
        "f = os.system",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert list(faults(line))


def test_a_method_named_eval_is_no_evaluation_of_text() -> None:
    assert not list(faults("model.eval()"))
