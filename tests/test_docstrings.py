"""Docstrings say what a caller must know: shapes of arrays, and what is raised. Checked on the syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("steadyframe", "runtime", "models", "calibration", "export")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
_ARRAY = re.compile(r"\b(NDArray|Tensor|Pixels)\b")
# (H, W, 3), (N, J, 3), (N,), (H, W[, C]): a tuple of sizes; or words that say that any shape will do.
_SIZE = r"(?:[\w'.*/+: |…-]+|\([^()]*\)|len\(\w+\))"
_SHAPE = re.compile(rf"\({_SIZE}(?:,|(?:, ?{_SIZE})*(?:, ?{_SIZE},?|\[, ?{_SIZE}\]))\)|any shape|scalar|named arrays")
_QUIET = {"NotImplementedError", "StopIteration", "StopStream", "Ended", "AttributeError", "ImportError"}


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods that a caller elsewhere may use; the docstring of a click command is its help."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield inner


def raised_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names of what the function itself raises; what its callees raise is theirs to say."""
    found = set()
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
        stack.extend(ast.iter_child_nodes(node))
    return {name for name in found if name not in _QUIET and not name.startswith("_")}


def arrays_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the function takes or gives arrays."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    notes = [argument.annotation for argument in arguments] + [function.returns]
    return any(note is not None and _ARRAY.search(ast.unparse(note)) for note in notes)


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_public_functions_say_shapes_and_errors(path: Path) -> None:
    missing = []
    for function in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(function) or ""
        if any(re.search(r"^overload$|^click\.", ast.unparse(each)) for each in function.decorator_list):
            continue
        if arrays_of(function) and not _SHAPE.search(text):
            missing.append(f"{function.name}: takes or gives arrays, and its docstring names no shape")
        if raised_in(function) and "Raises" not in text:
            missing.append(f"{function.name}: raises {', '.join(sorted(raised_in(function)))}, and has no Raises")
    assert not missing, "\n".join(missing)
