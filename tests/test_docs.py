"""The pages in docs/: their examples run and print what they say, their links lead somewhere."""

import doctest
import importlib.util
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def code_of(text):
    """A page with everything blank but its Python blocks, so that line numbers stay."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line.strip() == "```python"
            line = ""
        kept.append(line if inside else "")
    return "\n".join(kept)


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture
def as_before():
    """Primitives that an example adds are taken away again."""
    known = dict(tg.REGISTRY)
    yield
    tg.REGISTRY.clear()
    tg.REGISTRY.update(known)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_the_examples_of_a_page(path, tmp_path, monkeypatch, as_before):
    monkeypatch.chdir(tmp_path)  # an example that writes a file writes it here
    text = code_of(path.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "page"}, path.name, str(path), 0)
    assert not text.strip() or test.examples, "a Python block without an example"
    log = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=log.append)
    assert not log, "".join(log)


def test_the_pages_that_teach_have_examples():
    for name, least in (("edges.md", 70), ("engine.md", 20)):
        assert page(name).count("\n>>> ") > least


def test_an_example_that_is_wrong_would_fail():
    text = code_of("prose\n```python\n>>> 1 + 1\n3\n\n```\n")
    test = doctest.DocTestParser().get_doctest(text, {}, "page", "page", 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
    assert test.examples[0].lineno == 2


def test_the_page_about_training_names_what_there_is():
    said, nn = page("nn.md"), tg.nn
    losses = {row.form.__name__ for row in tg.losses.LOSSES if row.form}
    layers = [
        name
        for name in nn.__all__
        if inspect.isclass(thing := getattr(nn, name)) and issubclass(thing, nn.Module)
    ]
    names = [name for name in layers if name not in losses and name != "Module"]
    names += [n for n in nn.callbacks.__all__ if n != "CallbackList"]
    names += [n for n in nn.metrics.__all__ if n[0].islower()]
    names += [n for n in nn.init.__all__ if n.endswith("_") and n[:3] not in ("glo", "he_")]
    assert len(names) > 120
    assert not [name for name in names if f"`{name}" not in said and f".{name}" not in said]


# -- docstrings -------------------------------------------------------------------------------
def modules_of(module):
    """A module and the modules that it shows."""
    yield module
    for name in module.__all__ if hasattr(module, "__all__") else ():
        inner = getattr(module, name)
        if inspect.ismodule(inner):
            yield from modules_of(inner)


def test_every_method_of_a_public_class_says_what_it_does():
    missing = []
    for home in (tg.func, tg.linalg, tg.losses, tg.optim, tg.nn):
        for module in modules_of(home):
            for name, thing in vars(module).items():
                if name[0] == "_" or not inspect.isclass(thing) or issubclass(thing, tuple):
                    continue
                if not (thing.__module__ or "").startswith("tapegrad"):
                    continue
                for method, member in vars(thing).items():
                    if method[0] != "_" and inspect.isfunction(member) and not member.__doc__:
                        missing.append(f"{module.__name__}.{name}.{method}")
    assert not missing


def test_public_functions_of_every_module_have_examples():
    """Of the modules inside modules too, whichever there are."""
    without = []
    for home in (tg.func, tg.linalg, tg.losses, tg.optim, tg.nn):
        for module in modules_of(home):
            for name, thing in vars(module).items():
                own = getattr(thing, "__module__", None) == module.__name__
                if name[0] == "_" or not own or not callable(thing):
                    continue
                if inspect.isclass(thing) and issubclass(thing, (Exception, tuple)):
                    continue
                if inspect.isclass(thing) or inspect.isfunction(thing):
                    if ">>>" not in (inspect.getdoc(thing) or ""):
                        without.append(f"{module.__name__}.{name}")
    assert not without


# -- the reference ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def maker():
    """The tool that writes the reference. (That the committed page is up to date is checked on
    its own, so that no change of a docstring has to write it at once.)"""
    spec = importlib.util.spec_from_file_location("maker", ROOT / "tools" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(maker):
    return maker.reference()


def test_everything_public_is_in_the_reference(reference):
    places = anchors_of(reference)
    for name in ("abs", "where", "Tensor", "tensor", "float32", "REGISTRY", "grad", "check_grads"):
        assert f"tg.{name}" in places
    for home in (tg.func, tg.linalg, tg.losses, tg.optim, tg.nn):
        for name in home.__all__:
            module = inspect.ismodule(getattr(home, name))
            path = f"{home.__name__.replace('tapegrad', 'tg')}.{name}"
            assert (path.replace(".", "") if module else path) in places
    public = {n for n in dir(tg) if n[0] != "_" and inspect.isfunction(getattr(tg, n))}
    assert len(public) > 200
    assert not {n for n in public if f"tg.{n}" not in places}


def test_every_primitive_is_in_the_reference(maker, reference):
    rows = set(re.findall(r"^\| `(\w+)` \|", reference, re.M))
    known = {name for name, op in tg.REGISTRY.items() if maker.module_of(op)}
    assert rows == known and len(rows) > 150
    for row in (
        "| `tanh` | elementwise | ∂: `(y, _x) → 1.0 - y * y` | yes |",
        "| `div` | elementwise | ∂: `(_y, _a, b) → 1.0 / b`; `(y, _a, b) → -y / b` | yes |",
        "| `relu` | elementwise | g·∂: `(g, y, _x) → choose(y <= 0, 0.0, g)` |",
        "| `logsumexp` | reduction | weight: `(_y, x, *, axis) → softmax(x, axis=axis)` |",
        "| `argmax` | constant |  |  |",
    ):
        assert f"\n{row}" in reference


def test_the_reference_says_what_things_take(reference):
    for line in (
        "`tg.tensor(data, dtype=None, requires_grad=False, *, device=None)`",
        "`tg.exp(input)`",
        "`tg.no_grad()`",
        "`tg.nn.Linear(in_features, out_features, bias=True, device=None, dtype=None)`",
        "The same as [tg.abs](#tg.abs).",
    ):
        assert f"\n{line}\n" in reference
    assert "`tg.default_generator`: of type `Generator`." in reference  # its seed is random
    for sign in (" at 0x", "<class", "<function", "| a rule", ": a rule"):
        assert sign not in reference


def test_the_reference_is_the_same_each_time(maker, reference):
    assert maker.reference() == reference


# -- links ------------------------------------------------------------------------------------
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def anchors_of(text):
    """The places in a page that a link can name: headings, as GitHub spells them, and ids."""
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"<[^>]*>|[^\w\- ]", "", heading.replace("`", ""))
        found.add(plain.strip().lower().replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path, reference):
    """A file that exists; a place in a page; and code that a link is named after."""
    page = reference if path.name == "reference.md" else path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    wrong = []
    for label, target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, place = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists():
            wrong.append(f"{target}: there is no such file")
        elif place and place not in anchors_of(
            page if there == path else there.read_text(encoding="utf-8")
        ):
            wrong.append(f"{target}: there is no such place in the page")
        elif there.suffix == ".py" and re.fullmatch(r"`\w+`", label):
            if not re.search(rf"\b{label.strip('`')}\b", there.read_text(encoding="utf-8")):
                wrong.append(f"{label} does not occur in {file}")
    assert not wrong, "\n".join(wrong)
