"""The tensor itself: making, printing, attributes, conversions, and errors that say what to do."""

import copy
import json
import pathlib
import pickle
from fractions import Fraction

import numpy as np
import pytest

import tapegrad as tg

DATA = pathlib.Path(__file__).parent / "data"


def on_tape(*values):
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


# -- making -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "data, dtype",
    [
        (1.0, "float32"), (1, "int64"), (True, "bool"), ([1.0, 2.0], "float32"),
        ([1, 2.5], "float32"), ([1, 2], "int64"), ([True, False], "bool"), ([], "float32"),
        ([[1.0], [2.0]], "float32"),
        (np.float64(1.5), "float64"), (np.array([1.0]), "float64"), (np.arange(2), "int64"),
        (np.ones(2, "float16"), "float16"), (np.uint8(3), "uint8"), ([np.float64(1.0)], "float64"),
        (np.array(2.0), "float64"),
    ],
)  # fmt: skip
def test_dtypes_of_data(data, dtype):
    t = tg.tensor(data)
    assert t.dtype == dtype and t.shape == np.shape(data) and t.is_leaf and not t.requires_grad
    np.testing.assert_array_equal(t.tolist(), np.asarray(data).tolist())


def test_raw_values_are_canonical():
    assert type(tg.tensor(1.0, dtype="float64")._value) is float
    assert type(tg.tensor(np.array(1.0))._value) is float
    assert type(tg.tensor(1.0)._value) is np.float32
    for dtype in ("float16", "float32", "float64", "int8", "uint8", "bool"):
        t = tg.tensor([1, 0], dtype=dtype)
        assert t.dtype == dtype and t[0].dtype == dtype and t.sum().shape == ()
        assert not isinstance(t[0]._value, np.ndarray)


def test_data_is_copied():
    data = np.array([1.0, 2.0])
    t, u = tg.tensor(data), tg.tensor(tg.tensor(data))
    data[0] = 9
    assert t.tolist() == u.tolist() == [1.0, 2.0]
    fortran = tg.tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert fortran.is_contiguous() and not fortran.permute(1, 0).is_contiguous()
    nested = tg.tensor([tg.tensor(1.0), tg.tensor(2.0)])
    assert nested.tolist() == [1.0, 2.0] and nested.dtype == np.float32


def test_data_that_is_no_tensor():
    with pytest.raises(ValueError, match=r"ragged"):
        tg.tensor([[1.0], [2.0, 3.0]])
    for data in ("text", ["a"], [None], 1j, np.array([1 + 1j]), object()):
        with pytest.raises((TypeError, ValueError)):
            tg.tensor(data)
    with pytest.raises(TypeError, match=r"unknown dtype 'float99'.*float64"):
        tg.tensor(1.0, dtype="float99")
    with pytest.raises(TypeError, match=r"not supported"):
        tg.tensor(1.0, dtype="complex128")


def test_integers_carry_no_gradient():
    for data, dtype in (([1, 2], "int64"), (True, "bool")):
        with pytest.raises(RuntimeError, match=f"{dtype}.*floating"):
            tg.tensor(data, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"float"):
        tg.tensor(1).requires_grad = True
    x = on_tape(1.5, 2.5)
    for y in (x > 2, x.argmax(), (x * 2).to("int64")):
        assert not y.requires_grad and y.is_leaf


# -- attributes ---------------------------------------------------------------------------------
def test_attributes():
    t = tg.zeros(2, 3, dtype="float16")
    assert (t.shape, t.ndim, t.itemsize, t.nbytes, t.device) == ((2, 3), 2, 2, 12, "cpu")
    assert t.cpu() is t and t.is_floating_point() and t.is_contiguous() and len(t) == 2
    s = tg.tensor(1.0, dtype="float64")
    assert (s.shape, s.ndim, s.nbytes) == ((), 0, 8) and s.is_contiguous()
    assert s.name is None and s.grad is None
    s.name = "bias"
    assert s.name == "bias"


def test_unknown_attributes_suggest():
    with pytest.raises(AttributeError, match=r"did you mean.*'reshape'"):
        tg.zeros(2).reshap
    assert not hasattr(tg.zeros(2), "__array_struct__") and not hasattr(tg.zeros(2), "_nothing")


def test_hasattr_looks_for_no_near_names(monkeypatch):
    import difflib

    x = tg.zeros(2)
    with pytest.raises(AttributeError) as caught:
        _ = x.resahpe
    message = "'Tensor' object has no attribute 'resahpe'; did you mean 'reshape'"
    with monkeypatch.context() as without:
        without.setattr(difflib, "get_close_matches", None)
        assert not hasattr(x, "resahpe") and getattr(x, "resahpe", 3) == 3
    error = caught.value
    assert str(error).startswith(message) and error.name == "resahpe"
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, AttributeError) and str(again) == str(error)
    assert str(copy.copy(error)) == str(error)


def test_requires_grad_switches():
    x = tg.ones(2)
    x.requires_grad = True
    assert x.requires_grad and x.requires_grad_(False) is x and not x.requires_grad
    y = x.requires_grad_() * 2
    with pytest.raises(RuntimeError, match=r"only leaves can change.*'mul'.*detach"):
        y.requires_grad_(False)
    assert y.requires_grad_() is y


def test_grad_is_checked_on_assignment():
    x = on_tape(1.0, 2.0)
    x.grad = tg.ones(2, dtype="float64")
    for wrong, error in (
        (tg.ones(3, dtype="float64"), RuntimeError),
        (tg.ones(2), RuntimeError),
        (1.0, TypeError),
        (np.ones(2), TypeError),
    ):
        with pytest.raises(error, match=r"grad"):
            x.grad = wrong
    assert x.grad.tolist() == [1.0, 1.0]
    del x.grad
    assert x.grad is None


def test_reading_grad_of_a_non_leaf_warns():
    x = on_tape(1.0, 2.0)
    y = x * 2
    with pytest.warns(UserWarning, match=r"not a leaf.*'mul'.*retain_grad"):
        assert y.grad is None
    y.retain_grad()
    assert y.grad is None and y.retains_grad and not x.retains_grad  # no warning


# -- values out -----------------------------------------------------------------------------------
def test_item_bool_and_index():
    assert tg.tensor([[2.5]]).item() == 2.5 and isinstance(tg.tensor(3).item(), int)
    for use in (lambda t: t.item(), float):
        with pytest.raises(RuntimeError, match=r"\(2,\).*tolist"):
            use(tg.ones(2))
    assert tg.tensor(1.0) and not tg.tensor([0]) and range(5)[tg.tensor(2)] == 2
    with pytest.raises(RuntimeError, match=r"truth value.*\(2,\).*any\(\)"):
        bool(tg.ones(2))
    with pytest.raises(TypeError, match=r"float32"):
        range(5)[tg.tensor(2.0)]


def test_equality_is_elementwise_and_hashing_by_identity():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 3.0])
    assert (a == b).tolist() == [True, False] and (a != b).tolist() == [False, True]
    assert len({a, b, a}) == 2 and {a: 1}[a] == 1


@pytest.mark.parametrize("case", json.loads((DATA / "repr.json").read_text()), ids=str)
def test_prints_as_torch(case):
    data = case["data"]
    if isinstance(data, dict):
        data = np.arange(np.prod(data["arange"])).reshape(data["arange"])
    t = tg.tensor(data, dtype=case["dtype"], requires_grad=case["grad"])
    assert repr(t) == case["repr"].replace("dtype=torch.", "dtype=")


def test_prints_where_it_comes_from():
    x = on_tape(1.0, 2.0)
    assert repr(x * 2) == "tensor([2., 4.], dtype=float64, grad_fn=<mul>)"
    assert f"{tg.tensor(2.5):.1f}" == "2.5" and f"{x}" == repr(x)
    assert f"{(x * 2).sum().detach():>8.2f}" == "    6.00"


# -- errors of operations ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong, error, text",
    [
        (lambda: tg.ones(3) + tg.ones(2), RuntimeError, r"add.*\(3,\).*\(2,\).*broadcast"),
        (lambda: tg.ones(2, 3) @ tg.ones(2), RuntimeError, r"matmul.*\(2, 3\).*\(2,\)"),
        (lambda: tg.ones(2).sum(dim=1), IndexError, r"sum.*1.*-1 to 0"),
        (lambda: tg.ones(2, 2).permute(0, 5), IndexError, "permute.*5"),
        (lambda: tg.ones(2).reshape(3), RuntimeError, r"reshape.*\(3,\)"),
        (lambda: tg.ones(2)[5], IndexError, r"5.*\(2,\)"),
        (lambda: tg.ones(2)[1.5], IndexError, "float"),
        (lambda: tg.ones(2)[tg.tensor([0.5])], IndexError, "float32"),
        (lambda: tg.ones(2) + "a", TypeError, ""),
        (lambda: tg.exp([1.0]), TypeError, "tensor"),
        (lambda: tg.ones(2) + None, TypeError, ""),
    ],
)
def test_errors_name_operation_shapes_and_remedy(wrong, error, text):
    with pytest.raises(error, match=f"(?s){text}"):
        wrong()


# -- what is no operand -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "other", [1j, np.complex64(1), np.array([1j, 2j]), np.array(["a"]), object(), Fraction(1, 2)]
)
def test_complex_numbers_and_objects_are_refused_by_name(other):
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=r"mul\(\).* not"):
        tg.mul(x, other)
    with pytest.raises(TypeError):
        x + other


def test_lists_are_refused_by_name_and_never_taken_for_numbers():
    for name in ("sum", "mean", "softmax", "ones_like", "zeros_like", "numel", "sort"):
        with pytest.raises(TypeError, match=rf"{name}\(\).* not list: make it a tensor"):
            getattr(tg, name)([1.0, 2.0], *([0] if name == "softmax" else []))


def test_arrays_of_other_byte_order_and_extended_precision():
    foreign = np.array([1.0, 2.0], dtype=">f4")
    assert tg.tensor(foreign).dtype is np.dtype("float32")
    assert tg.from_numpy(foreign).dtype.isnative and tg.zeros(2, dtype=">f8").dtype.isnative
    x = tg.ones(2, requires_grad=True)
    y = x * foreign
    assert y.dtype == "float32" and y.dtype.isnative
    y.sum().backward()
    assert x.grad.dtype.isnative and x.grad.tolist() == [1.0, 2.0]
    if np.dtype("longdouble").itemsize > 8:
        with pytest.raises(TypeError, match="not supported"):
            tg.tensor(np.longdouble(1))
        with pytest.raises(TypeError, match="not supported"):
            x * np.ones(2, dtype="longdouble")


@pytest.mark.parametrize("data", [None, "abc", {"a": 1}, [object()], [[1.0], [1.0, 2.0]], [None]])
def test_what_is_no_number_is_refused_by_name(data):
    with pytest.raises((TypeError, ValueError), match="cannot make a tensor"):
        tg.tensor(data)


def test_a_tensor_of_one_number_keeps_its_dtype():
    """The value of a 0-d float64 tensor is a Python number, which alone would become float32."""
    x = tg.tensor(0.1, dtype="float64", requires_grad=True)
    assert tg.tensor(x).dtype == "float64" and tg.tensor(x).item() == 0.1
    y = tg.tensor(1.0)
    y.data = x
    assert y.dtype == "float64"
    assert tg.tensor(x, dtype="float32").dtype == "float32"
    assert tg.tensor([x, x]).tolist() == [0.1, 0.1]
    layer = tg.nn.Module()
    layer.scale = tg.nn.Parameter(tg.tensor(0.1))
    layer.double()
    assert layer.scale.dtype == layer.state_dict()["scale"].dtype == "float64"
