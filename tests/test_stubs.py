"""The checked-in stubs say what the compiled module offers."""

import ast
import difflib
import subprocess
import sys
from importlib import resources

REGENERATE = "python/unsupfast/_core.pyi is out of date: run `nox -s stubs`"


class _Essence(ast.NodeTransformer):
    """Drops what may differ between builds of the same bindings: docstrings, constants' values."""

    def visit(self, node):
        self.generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)] or [ast.Expr(ast.Constant(...))]
        return node

    def visit_AnnAssign(self, node):
        node.value = None
        return node


def _is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(
        getattr(statement.value, "value", None), str
    )


def _essence(source):
    return ast.unparse(_Essence().visit(ast.parse(source))).splitlines()


def test_stubs_match_the_compiled_module(tmp_path):
    generated = subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "unsupfast._core", "-o", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert generated.returncode == 0, generated.stderr
    now = _essence((tmp_path / "unsupfast" / "_core.pyi").read_text(encoding="utf-8"))
    checked_in = _essence((resources.files("unsupfast") / "_core.pyi").read_text(encoding="utf-8"))
    diff = list(difflib.unified_diff(checked_in, now, "_core.pyi", "compiled module", lineterm=""))
    assert not diff, "\n".join([REGENERATE, *diff])


def test_package_is_marked_as_typed():
    assert (resources.files("unsupfast") / "py.typed").is_file()
