"""Writes docs/reference.md from the library itself: what it is called, what it takes, what it does.

    python tools/make_reference.py             write the page
    python tools/make_reference.py --check     write nothing; fail when the page is not up to date

Signatures and first paragraphs come from the functions, the table of primitives from the registry
with the source text of what each states. Nothing in the page depends on the machine or the versions
of Python and NumPy.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad import methods
from tapegrad.losses.families import FAMILIES
from tapegrad.losses.table import Row
from tapegrad.nn.loss_modules import LossModule
from tapegrad.registry import Primitive

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
LONGEST = 160  # of a rule that is shown, in characters

#: Sections of the top level that are no module of functions: title, modules whose names go there.
#: A name of any other module goes to the last section.
SECTIONS = {
    "The tensor": ("tensors", "protocols"),
    "Gradients": ("reverse", "batching", "checkpointing"),
    "Recording": ("modes",),
    "Checking derivatives": ("checking", "check_like_torch", "check_report"),
    "Adding operations": ("families", "registry", "errors", "ops.engine"),
    "Pictures and files": ("drawing", "saving"),
    "Data types": ("values",),
    "Other": (),
}
#: The modules under their own names, in order. What they show as modules follows each of them.
MODULES = ("autograd", "func", "linalg", "losses", "optim", "nn")

HEAD = """# Reference

Every public name with its arguments and the first paragraph of its documentation; `help(tg.abs)`
shows the rest, with an example. At the end are the [losses by name](#losses-by-name) and
[the primitives](#primitives), the operations that have derivatives of their own, and what each of
them states.

This page is written by `make docs` from the library. Do not edit it.
"""


# -- text -------------------------------------------------------------------------------------
def first_paragraph(thing: Any) -> str:
    """The first paragraph of a docstring, as Markdown."""
    text = inspect.getdoc(thing) or ""
    return to_markdown(" ".join(re.split(r"\n\s*\n|\n>>>", text.strip())[0].split()))


def first_sentence(thing: Any) -> str:
    """The first sentence of a docstring, as Markdown."""
    text = first_paragraph(thing)
    return re.split(r"(?<=\.)\s+(?=[^a-z])", text)[0]


def to_markdown(text: str) -> str:
    """Literals and roles of reStructuredText as Markdown's; what else it acts upon, escaped."""
    parts = re.split(r"(:\w+:`[^`]*`|``.*?``)", text)
    for i, part in enumerate(parts):
        role = re.fullmatch(r":\w+:`~?([^`]*)`", part)
        if role:
            name = role[1].removeprefix("tapegrad.")
            parts[i] = f"`{name}`"
        elif part.startswith("``"):
            parts[i] = "`" + part.strip("`") + "`"
        else:
            parts[i] = re.sub(r"([*<\[\]])", r"\\\1", part)
    return "".join(parts)


def signature_of(thing: Any, skip: int = 0) -> str | None:
    """The arguments with their defaults, without annotations and private ones; None if unknown.

    ``skip``: how many to leave out at the start.
    """
    op = getattr(thing, "primitive", None)
    if inspect.isclass(thing) and hasattr(thing, "__signature__"):
        pass  # a class that says itself what it takes, as the losses do
    elif inspect.isclass(thing) and inspect.isfunction(thing.__init__):
        thing, skip = thing.__init__, 1
    elif isinstance(op, Primitive) and "params" in inspect.signature(thing).parameters:
        if isinstance(op.forward, np.ufunc):
            return "(input, other, /)" if op.forward.nin == 2 else "(input, /)"
        thing = op.forward
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    kept = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in list(signature.parameters.values())[skip:]
        if not p.name.startswith("_")
    ]
    text = str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    # a class and a function by their names
    return re.sub(r"<(?:class '|function )(?:[\w.]*\.)?(\w+)(?:'| at 0x\w+)>", r"\1", text)


# -- what there is ----------------------------------------------------------------------------
def names_in(module: ModuleType) -> list[str]:
    """The public names of a module."""
    return list(getattr(module, "__all__", None) or (n for n in dir(module) if n[0] != "_"))


def home_of(thing: Any) -> str:
    """The module that a thing comes from, inside tapegrad."""
    op = getattr(thing, "primitive", None)
    module = module_of(op) if isinstance(op, Primitive) else getattr(thing, "__module__", None)
    return (module or "").removeprefix("tapegrad").removeprefix(".")


#: Shorter titles than the docstrings of modules begin with.
TITLES = {
    "sampling": "Random numbers",
    "functions.converting": "Sizes and conversion",
    "functions.joining": "Joining, parting, repeating",
    "functions.matrices": "Functions of matrices",
    "functions.scans": "Running sums and products",
    "functions.specials": "Exponentials, logarithms, trigonometry",
    "functions.statistics": "Statistics",
}


def title_of(module: ModuleType) -> str:
    """What a module is about: its title here, or the start of its docstring."""
    home = home_of_module(module)
    if home in TITLES:
        return TITLES[home]
    start = re.split(r"[.:;]\s|[.:;]$", (module.__doc__ or "").strip(), maxsplit=1)[0]
    start = re.sub(r",? with torch's .*", "", " ".join(start.split()))
    return start.replace("``", "`")


def families() -> tuple[ModuleType, ...]:
    """The modules of functions that make up most of the top level."""
    return (methods.creation, methods.sampling, *methods.FUNCTION_MODULES)


def sections() -> Iterator[tuple[str, str, list[tuple[str, Any]]]]:
    """(title, introduction, [(name, thing)]) of the whole page, in order."""
    of_family = {name for module in families() for name in names_in(module)}
    rest: dict[str, list[tuple[str, Any]]] = {title: [] for title in SECTIONS}
    for name in dir(tg):
        thing = getattr(tg, name)
        if name.startswith("_") or name in of_family or inspect.ismodule(thing):
            continue
        if isinstance(thing, type(annotations)):  # from __future__
            continue
        home = "values" if isinstance(thing, np.dtype) else home_of(thing)
        if name == "REGISTRY":
            home = "registry"
        rest[section_of(home)].append((f"tg.{name}", thing))
    yield "The tensor", "", rest.pop("The tensor")
    for module in families():
        named = [(f"tg.{name}", getattr(tg, name)) for name in sorted(names_in(module))]
        yield title_of(module), "", named
    for title, named in rest.items():
        if named:
            yield title, "", named
    for name in MODULES:
        yield from sections_of(importlib.import_module(f"tapegrad.{name}"), f"tg.{name}")


def section_of(home: str) -> str:
    """The section for what comes from a module that is no module of functions."""
    for title, homes in SECTIONS.items():
        if any(home == h or home.startswith(h + ".") for h in homes):
            return title
    return "Other"


def sections_of(module: ModuleType, path: str) -> Iterator[tuple[str, str, list[tuple[str, Any]]]]:
    """The section of a module and those of the modules that it shows."""
    named = []
    inner = []
    for name in names_in(module):
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            if thing.__name__.startswith("tapegrad."):
                inner.append((thing, f"{path}.{name}"))
        elif getattr(module, "__all__", None) or home_of(thing) == home_of_module(module):
            named.append((f"{path}.{name}", thing))
    yield f"`{path}`", first_paragraph(module), sorted(named, key=lambda pair: pair[0].lower())
    for other, where in inner:
        yield from sections_of(other, where)


def home_of_module(module: ModuleType) -> str:
    """The module's own name, inside tapegrad."""
    return module.__name__.removeprefix("tapegrad.")


# -- entries ----------------------------------------------------------------------------------
def place(name: str) -> str:
    """The anchor of a name; headings alone would not tell ``tg.tensor`` from ``tg.Tensor``."""
    return f'<a id="{name}"></a>'


def entry(name: str, thing: Any, known: dict[int, str]) -> list[str]:
    """The lines about one name."""
    lines = [f"### {place(name)}{name}", ""]
    first = known.get(id(thing)) or own_name(name, thing)
    if first != name:
        return [*lines, f"The same as [{first}](#{first}).", ""]
    if inspect.isclass(thing) and issubclass(thing, LossModule):
        first = known[id(thing.form)]
        return [*lines, f"[{first}](#{first}), which is a module here.", ""]
    known[id(thing)] = name
    signature = None if is_error(thing) else signature_of(thing)
    if signature is not None:
        lines += [f"`{name}{signature}`", ""]
    lines += [first_paragraph(thing), ""]
    if inspect.isclass(thing) and not is_error(thing):
        lines += members(thing)
    return lines


def constant_entry(name: str, thing: Any) -> str:
    """The line about what is no function and no class."""
    if isinstance(thing, np.dtype):
        what = f"the dtype `{thing}`."
    elif thing is tg.REGISTRY:
        what = "every primitive by its name."
    elif isinstance(thing, (bool, int, float, str, type(None))):
        what = f"`{thing!r}`."
    else:
        what = f"of type `{type(thing).__name__}`."
    return f"- {place(name)}`{name}`: {what}"


def own_name(name: str, thing: Any) -> str:
    """The name, or that of the function beside it of which it is another name."""
    home, _, last = name.rpartition(".")
    other = getattr(thing, "__name__", last)
    return f"{home}.{other}" if home == "tg" and getattr(tg, other, None) is thing else name


def is_error(thing: Any) -> bool:
    """Whether it is a class of errors, whose arguments nobody gives."""
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def members(thing: type) -> list[str]:
    """The methods and properties that a class has of its own."""
    described, like_functions, changing = [], [], []
    functions = {name for module in families() for name in names_in(module)}
    for name in sorted(dir(thing)):
        if name.startswith("_"):
            continue
        owner = next(c for c in thing.__mro__ if name in vars(c))
        member = inspect.getattr_static(thing, name)
        if owner is not thing:
            continue  # inherited: said where it comes from
        if isinstance(member, property):
            described.append(f"- `{name}`: {first_sentence(member)}")
        elif inspect.isfunction(member):
            if thing is tg.Tensor and name in functions:
                like_functions.append(f"[{name}](#tg.{name})")
            elif thing is tg.Tensor and is_named_after(name):
                changing.append(f"`{name}`")
            else:
                described.append(f"- `{name}{signature_of(member, 1)}`: {first_sentence(member)}")
    if thing is tg.Tensor:
        described += [
            "",
            "Functions that are methods too, with the tensor for their first argument:",
            *wrapped(like_functions),
            "",
            "Functions whose result the tensor takes, in place:",
            *wrapped(changing),
        ]
    return [*described, ""] if described else []


def is_named_after(name: str) -> bool:
    """Whether a method is the form in place of the function without the underscore."""
    if not name.endswith("_") or name in ("requires_grad_", "detach_"):
        return False
    return hasattr(tg, name[:-1]) or hasattr(tg.Tensor, name[:-1])


def wrapped(items: list[str]) -> list[str]:
    """A sentence of names, in lines."""
    return textwrap.wrap(
        ", ".join(items) + ".", 100, break_long_words=False, break_on_hyphens=False
    )


# -- losses -----------------------------------------------------------------------------------
def losses_table() -> list[str]:
    """A section about the rows of the table of losses, family by family."""
    lines = [
        "## Losses by name",
        "",
        "The table of losses. Each goes by any of its names in `losses.get`, where case, spaces "
        "and punctuation do not matter. The settings listed have a gradient when given as "
        "tensors. *Like* says whose numbers the tests compare values, gradients and second "
        "derivatives with; the others are held against their formulas.",
        "",
    ]
    for family in FAMILIES:
        rows: dict[Any, list[Row]] = {}
        for row in family.ROWS:
            rows.setdefault(row.function, []).append(row)
        if not rows:
            continue
        lines += [
            f"### {title_of(family)}",
            "",
            "| function | class | other names | settings with a gradient | like |",
            "|---|---|---|---|---|",
        ]
        lines += [row_of(function, cases) for function, cases in rows.items()]
        lines.append("")
    return lines


def metrics_table() -> list[str]:
    """A section about the rows of the table of metrics."""
    lines = [
        "## Metrics by name",
        "",
        "The table of metrics. Each goes by any of its names in `nn.metrics.get`, where case, "
        "spaces and punctuation do not matter. *Like* says with which of scikit-learn's functions "
        "the tests compare values. *Keeps* says what is kept of the batches of an epoch.",
        "",
        "| function | other names | better | like | keeps |",
        "|---|---|---|---|---|",
    ]
    for row in tg.nn.metrics.METRICS:
        names = ", ".join(f"`{name}`" for name in row.names)
        better = {"max": "more", "min": "less", "": ""}[row.better]
        peer = f"`{row.peer}`" if row.peer else ""
        keeps = "all samples" if row.keeps_samples else "sums"
        cells = (f"[`{row.name}`](#tg.nn.metrics.{row.name})", names, better, peer, keeps)
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def row_of(function: Any, rows: list[Row]) -> str:
    """The line about one loss, from its rows."""
    names = dict.fromkeys(f"`{name}`" for row in rows for name in row.names)
    forms = dict.fromkeys(row.form.__name__ for row in rows if row.form)
    real = dict.fromkeys(
        f"`{name}`" for row in rows for given in row.tried() for name in row.real_settings(given)
    )
    libraries = {"torch": "PyTorch", "keras": "Keras"}
    peers = dict.fromkeys(libraries.get(row.peer.partition(":")[0], "") for row in rows)
    cells = (
        shown_name(function.__name__),
        ", ".join(shown_name(name) for name in forms),
        ", ".join(names),
        ", ".join(real),
        ", ".join(filter(None, peers)),
    )
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def shown_name(name: str) -> str:
    """A link to the entry of a loss."""
    return f"[`{name}`](#tg.losses.{name})"


# -- primitives -------------------------------------------------------------------------------
@functools.cache
def tree_of(path: str) -> tuple[str, ast.Module]:
    """The text of a file and its syntax tree."""
    text = Path(path).read_text(encoding="utf-8")
    return text, ast.parse(text)


def ops_modules() -> list[ModuleType]:
    """The modules that hold primitives."""
    return [
        module for name, module in sorted(sys.modules.items()) if name.startswith("tapegrad.ops.")
    ]


@functools.cache
def module_of(op: Primitive) -> str | None:
    """The module whose text makes a primitive."""
    found = []
    for module in ops_modules():
        for name, value in vars(module).items():
            if getattr(value, "primitive", None) is op:
                found.append((name in assigned_in(module), module.__name__))
    return max(found, key=lambda pair: pair[0])[1] if found else None


@functools.cache
def assigned_in(module: ModuleType) -> set[str]:
    """The names that a module itself gives a value to."""
    targets: set[str] = set()
    for node in tree_of(str(module.__file__))[1].body:
        if isinstance(node, ast.Assign):
            targets.update(t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            targets.add(node.target.id)
    return targets


def file_of(module: str) -> str:
    """Where a module lies in the checkout."""
    parts = module.split(".")[1:]
    folder = [] if parts[0] in ("nn", "optim", "losses") else ["autograd"]
    return "/".join([*folder, *parts]) + ".py"


def shown_rule(rule: Any) -> str:
    """What was written for one rule: a number, the text of a short function, or its name."""
    if rule is None:
        return "`g`"
    if not callable(rule):
        return f"`{rule}`"
    text = text_of(rule)
    if text is not None and len(text) <= LONGEST:
        return "`" + text.replace("|", "\\|") + "`"
    module, name = getattr(rule, "__module__", None), getattr(rule, "__name__", "")
    if module and module.startswith("tapegrad."):
        label = f"`{name}`" if name.isidentifier() else "a longer rule"
        return f"[{label}](../{file_of(module)})"
    return "a rule"


def text_of(function: Any) -> str | None:
    """``(arguments) → result``, for a lambda or a function of one return; None for others."""
    code = getattr(function, "__code__", None)
    if code is None or not Path(code.co_filename).exists():
        return None
    text, tree = tree_of(code.co_filename)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and function.__name__ == "<lambda>":
            result: Any = node.body
        elif isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            body = [part for part in node.body if not is_text(part)]
            if len(body) != 1 or not isinstance(body[0], ast.Return):
                continue
            result = body[0].value
        else:
            continue
        arguments = names_of(node.args)
        plain = [a.lstrip("*") for a in arguments if a != "*"]
        if node.lineno == code.co_firstlineno and {*plain} <= {*code.co_varnames}:
            found.append((arguments, result))
    if len(found) > 1:  # several lambdas that begin on one line
        found = [pair for pair in found if is_inside(code, pair[1])]
    if not found:
        return None
    arguments, result = found[0]
    source = " ".join((ast.get_source_segment(text, result) or "").split())
    source = re.sub(r"([(\[]) | (?=[)\]])", r"\1", source)  # where a line was broken
    return f"({', '.join(arguments)}) → {source}"


def is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_inside(code: Any, node: Any) -> bool:
    """Whether compiled code comes from a part of the text: two lambdas may begin on one line."""
    start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    spots = [(p[0], p[2]) for p in code.co_positions() if p[0] is not None and p[2] is not None]
    return any(start <= spot <= end for spot in spots[1:])


def names_of(arguments: ast.arguments) -> list[str]:
    """Arguments by their names alone."""
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg is not None:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    names += [a.arg for a in arguments.kwonlyargs]
    if arguments.kwarg is not None:
        names.append(f"**{arguments.kwarg.arg}")
    return names


def statement_of(op: Primitive) -> str:
    """What the author of a primitive stated."""
    if not op.differentiable:
        return ""
    rules = op.statement if isinstance(op.statement, tuple) else (op.statement,)
    if op.family == "elementwise":
        if any(getattr(r, "__qualname__", "").startswith("_at_one") for r in rules):
            return "g·∂: " + "; ".join(map(shown_rule, op.rules or ()))
        return "∂: " + "; ".join(map(shown_rule, rules))
    if op.family == "indexed":
        rules = (op._pull,)
    label = {"linear": "transpose", "bilinear": "transposes", "reduction": "weight"}
    text = f"{label.get(op.family, 'vjp')}: " + "; ".join(map(shown_rule, rules))
    return text if op.push_rule is None else f"{text}; and a push"


def primitives_table() -> list[str]:
    """The last section: every primitive, by the file that states it."""
    by_module: dict[str, list[Primitive]] = {}
    for op in tg.REGISTRY.values():
        home = module_of(op)
        if home is not None:  # else somebody added it
            by_module.setdefault(home, []).append(op)
    lines = [
        "## Primitives",
        "",
        "The operations that have a derivative of their own, and those that have none "
        "(*constant*). Each is one block in the file named. The family says how the two directions "
        "of differentiation follow from what is stated:",
        "",
        "- *elementwise*, ∂: the partial derivative by each operand, `(y, *operands)`; or g·∂, its "
        "product with the cotangent, for operations that select. A number is a constant partial.",
        "- *linear*: the transpose, `(g, x)`; *bilinear*: one for each operand, `(g, a, b)`.",
        "- *reduction*: the weight of each element, `(y, x)`, by which dy = Σ weight · dx.",
        "- *general* and *indexed*: the VJP, `(g, y, *operands)`, for each operand; the forward "
        "direction is its transpose, unless a push is stated.",
        "",
        "Arguments that begin with an underscore are not read. *Analytic* operations hold for "
        "complex arguments too, so that the checker may use the complex step. *Samples* are the "
        "inputs that the tests of derivatives run on.",
        "",
    ]
    for home in sorted(by_module):
        file = file_of(home)
        lines += [
            f"### {file}",
            "",
            first_sentence(sys.modules[home]) + f" ([source](../{file}))",
            "",
        ]
        lines += ["| name | family | states | analytic | samples |", "|---|---|---|---|---|"]
        for op in sorted(by_module[home], key=lambda op: op.name):
            analytic = "yes" if op.analytic else ""
            row = (f"`{op.name}`", op.family, statement_of(op), analytic, str(len(op.samples)))
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return lines


# -- the page ---------------------------------------------------------------------------------
def reference() -> str:
    """The whole page."""
    known: dict[int, str] = {}
    body: list[str] = []
    contents = []
    for title, introduction, named in sections():
        contents.append(f"- [{title}](#{slug(title)})")
        body += [f"## {title}", ""]
        if introduction:
            body += [introduction, ""]
        for name, thing in named:
            if callable(thing):
                body += entry(name, thing, known)
        constants = [constant_entry(name, thing) for name, thing in named if not callable(thing)]
        body += [*constants, ""] if constants else []
    contents += ["- [Losses by name](#losses-by-name)", "- [Metrics by name](#metrics-by-name)"]
    contents.append("- [Primitives](#primitives)")
    tables = [*losses_table(), *metrics_table(), *primitives_table()]
    lines = [*HEAD.splitlines(), "", *contents, "", *body, *tables]
    return "\n".join(lines).rstrip() + "\n"


def slug(title: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md from the library.")
    parser.add_argument("--check", action="store_true", help="fail when the page is out of date")
    options = parser.parse_args()
    text = reference()
    shown = PAGE.relative_to(ROOT)
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
        print(f"{shown}: {'unchanged' if text == old else 'written'}, {len(text) // 1000} kB")
        return 0
    if text == old:
        print(f"{shown} is up to date")
        return 0
    changes = difflib.unified_diff(old.splitlines(), text.splitlines(), "committed", "now", n=0)
    print("\n".join(list(changes)[:40]))
    print(f"{shown} is not up to date: run `make docs` and commit it")
    return 1


if __name__ == "__main__":
    sys.exit(main())
