"""What users call: ``backward()`` and ``grad()``, and how gradients get into ``.grad``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from numpy import ndarray

from . import modes
from .batched import ACTIVE, Batched
from .ops.shaping import cast
from .records import (
    NOTE,
    NUMBER,
    OP,
    note_of,
)
from .reverse import walk
from .scopes import INPUTS, leaves_within
from .tensors import Tensor, make, tensor
from .values import full_like_value

_deliver_lock = threading.Lock()


def _tensors(given: Any, what: str) -> list[Tensor]:
    """A tensor or a sequence of them as a list."""
    if isinstance(given, Tensor):
        return [given]
    try:
        found = list(given)
    except TypeError:
        raise TypeError(
            f"{what} must be a Tensor or a sequence, not {type(given).__name__}"
        ) from None
    for i, x in enumerate(found):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}[{i}] is a {type(x).__name__}, not a Tensor")
    return found


def _seed(output: Any, gradient: Any, graph: bool, what: str) -> Any:
    """The cotangent to start with, checked against the output."""
    value = output._value
    if output._record is None:
        raise RuntimeError(
            f"{what}: the tensor (shape {output.shape}, dtype {output.dtype}) is not on the tape: "
            "no operand required a gradient, or it was computed under no_grad() or detached. "
            "Make a leaf with requires_grad=True."
        )
    if gradient is None:
        if type(value) is float:
            raw: Any = 1.0
        elif output.shape == () or (type(value) is ndarray and value.size == 1):
            raw = full_like_value(1.0, value)
        else:
            raise RuntimeError(
                f"{what} of a tensor of shape {output.shape} needs a gradient of that shape; only "
                "a scalar's defaults to 1. Reduce it first (.sum(), .mean()) or pass gradient=."
            )
        return make(raw, None) if graph else raw
    if not isinstance(gradient, Tensor):
        gradient = tensor(gradient, dtype=output.dtype)
    if gradient.shape != output.shape:
        raise RuntimeError(
            f"{what}: gradient has shape {gradient.shape}, but the tensor has shape {output.shape}"
        )
    if gradient.dtype != output.dtype:
        gradient = cast(gradient, dtype=output.dtype)
    return gradient if graph else gradient._value


def _deliver(
    arrived: dict[int, tuple[list[Any], Any]], only: set[int] | None, taken: list[Any]
) -> list[tuple[Any, Any]]:
    """Add what arrived to ``.grad``, by rebinding, never in place. Gives the hooks to be called,
    each with its leaf, which may start another backward pass."""
    seen = {id(v) for v in taken}
    levels = ACTIVE.get()
    called: list[tuple[Any, Any]] = []
    with _deliver_lock:
        for number, (record, g) in arrived.items():
            note = record[NOTE]
            handle = note.handle() if note is not None and note.handle is not None else None
            # A parameter that moved on to another record is not where this gradient belongs.
            if handle is None or handle._record is not record:
                continue
            if only is not None and number not in only:
                continue
            if levels and number < levels[-1].number:
                raise _outside_of_map(handle)
            known = handle._grad
            if note.stop:
                note.plain = not isinstance(g, Tensor) or (note.plain and known is not None)
            g = own(g, seen)
            if known is not None:
                g = (
                    known + g
                    if g._record is not None or known._record is not None
                    else _add(known, g)
                )
            handle._grad = g
            if note is not None and note.after:
                called += ((hook, handle) for hook in list(note.after.values()))
    return called


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> Any:
    """Call ``hook(self)`` whenever a backward pass has added to the ``.grad`` of this leaf.

    For work that need not wait for all gradients, such as the step of an optimizer with one
    parameter, after which the gradient can be let go. Recording is off in the hook, unless the
    backward pass is recorded. Returns a handle with ``remove()``. RuntimeError for a tensor that
    is no leaf, or requires no gradient.

    >>> import tapegrad as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> handle = w.register_post_accumulate_grad_hook(lambda p: p.sub_(0.5 * p.grad))
    >>> (w * w).backward()
    >>> w
    tensor(0., requires_grad=True)
    """
    if self._record is None:
        raise RuntimeError(
            "register_post_accumulate_grad_hook() on a tensor that does not require a gradient"
        )
    if not self.is_leaf:
        raise RuntimeError(
            "register_post_accumulate_grad_hook() on a tensor that is no leaf (made by "
            f"'{self._record[OP]}', shape {self.shape}): post accumulate grad hooks cannot be "
            "registered on non-leaf tensors. Use register_hook()."
        )
    return note_of(self._record).add_hook(hook, after=True)


def _outside_of_map(handle: Any) -> RuntimeError:
    return RuntimeError(
        "backward() inside vmap reached a leaf made outside of it (shape "
        f"{handle.shape}), whose .grad cannot hold a gradient for every example: use tg.func.grad "
        "or tg.grad, which return it, or backward(inputs=...) with tensors made inside"
    )


def own(g: Any, seen: set[int]) -> Tensor:
    """A handle for the user on a cotangent, with memory of its own: the array may be the seed,
    or the cotangent of another tensor too."""
    record, value = (g._record, g._value) if isinstance(g, Tensor) else (None, g)
    array = value.array if type(value) is Batched else value
    if type(array) is ndarray:
        if array.base is not None or id(array) in seen:
            value = value.copy()
        seen.add(id(value.array if type(value) is Batched else value))
    return make(value, record)


def _add(a: Any, b: Any) -> Any:
    return make(a._value + b._value, None)


def backward(
    self: Any,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add d(self)/d(leaf) to the ``.grad`` of every leaf that this tensor was computed from.

    ``gradient``: the cotangent, of the tensor's shape; may be left out for a one-element tensor.
    ``retain_graph``: keep saved values so that the graph can be walked again (default:
    ``create_graph``). ``create_graph``: record the backward pass itself, for higher derivatives.
    ``inputs``: only these tensors get ``.grad``.

    Raises RuntimeError when the tensor is not on the tape, is not a scalar and no gradient is
    given, was already walked without ``retain_graph``, or a saved value was changed in place.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """
    retain = create_graph if retain_graph is None else retain_graph
    _accumulate([(self, gradient)], retain, create_graph, inputs)


def backward_from(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """The backward pass of several tensors at once, ``tg.autograd.backward``.

    Adds the derivatives of their sum to the ``.grad`` of every leaf. ``tensors``: a tensor or a
    sequence; ``grad_tensors``: their cotangents, None for that of a one-element tensor, which is
    1. The rest as for :meth:`Tensor.backward`.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.autograd.backward([x.sum(), x * x], [None, tg.tensor([1.0, 10.0])])
    >>> x.grad
    tensor([ 3., 41.])
    """
    tensors = _tensors(tensors, "backward(): tensors")
    if grad_tensors is None or isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors] * len(tensors) if grad_tensors is None else [grad_tensors]
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(
            f"backward(): {len(tensors)} tensors but {len(grad_tensors)} grad_tensors"
        )
    retain = create_graph if retain_graph is None else retain_graph
    _accumulate(list(zip(tensors, grad_tensors, strict=True)), retain, create_graph, inputs)


def _accumulate(
    pairs: list[tuple[Any, Any]], retain: bool, create_graph: bool, inputs: Any
) -> None:
    """Walk from tensors with their cotangents, and add what arrives to ``.grad``."""
    roots = [(y._record, _seed(y, g, create_graph, "backward()")) for y, g in pairs]
    only: set[int] | None = None
    wanted: dict[int, Any] | None = None
    if inputs is not None:
        inputs = _tensors(inputs, "backward(): inputs")
        if not inputs:
            raise RuntimeError(
                "backward(inputs=[]) has nothing to do: leave inputs out, or name some"
            )
        for i, x in enumerate(inputs):
            if x._record is None:
                raise RuntimeError(
                    f"backward(): inputs[{i}] (shape {x.shape}) does not require a gradient"
                )
            if not x.is_leaf:
                x.retain_grad()
        wanted = {x._record[NUMBER]: None for x in inputs}
        only = set(wanted)
    elif INPUTS.get():  # inside a function being transformed: not beyond its inputs
        wanted = {n: None for record, _ in roots for n in leaves_within(record)}
    seeds = [getattr(seed, "_value", seed) for _, seed in roots]
    if create_graph:
        with modes.enable_grad():
            arrived = walk(roots, graph=True, retain=retain, wanted=wanted, stop=inputs is None)
            hooks = _deliver(arrived, only, seeds)
    else:
        arrived = walk(roots, graph=False, retain=retain, wanted=wanted)
        hooks = _deliver(arrived, only, seeds)
    if hooks:
        with modes.set_grad_enabled(create_graph):
            for hook, handle in hooks:
                hook(handle)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of (the sum of) ``outputs`` by ``inputs``, without touching any ``.grad``.

    ``outputs``, ``inputs``: a tensor or a sequence; ``grad_outputs``: cotangents of the outputs.
    Returns a tuple, one gradient per input. An input that no output depends on is an error
    unless ``allow_unused`` (then None) or ``materialize_grads`` (then zeros).
    ``is_grads_batched``: ``grad_outputs`` have one more dimension in front, over which the
    gradients are mapped by :func:`vmap`; so has every result.

    >>> import tapegrad as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (first,) = tg.grad(x**3, x, create_graph=True)
    >>> (second,) = tg.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    outputs = _tensors(outputs, "grad(): outputs")
    inputs = _tensors(inputs, "grad(): inputs")
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * len(outputs) if grad_outputs is None else [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad(): {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if x._record is None:
            raise RuntimeError(
                f"grad(): inputs[{i}] (shape {x.shape}, dtype {x.dtype}) does not require a "
                "gradient: make it a leaf with requires_grad=True before computing the outputs"
            )
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        mapped = _mapped_gradients(outputs, inputs, grad_outputs, retain, create_graph)
        return tuple(
            _unused(x, i, bool(allow_unused), materialize_grads, len(grad_outputs[0]))
            if g is None
            else g
            for i, (x, g) in enumerate(zip(inputs, mapped, strict=True))
        )
    wanted = {x._record[NUMBER]: None for x in inputs}
    roots = [
        (y._record, _seed(y, g, create_graph, "grad()"))
        for y, g in zip(outputs, grad_outputs, strict=True)
    ]
    if create_graph:
        from .modes import enable_grad

        with enable_grad():
            arrived = walk(roots, graph=True, retain=retain, wanted=wanted)
    else:
        arrived = walk(roots, graph=False, retain=retain, wanted=wanted)
    results: list[Any] = []
    seen = {id(getattr(seed, "_value", seed)) for _, seed in roots}
    for i, x in enumerate(inputs):
        found = arrived.get(x._record[NUMBER])
        if found is not None:
            results.append(own(found[1], seen))
        else:
            results.append(_unused(x, i, bool(allow_unused), materialize_grads))
    return tuple(results)


def _unused(
    x: Tensor, i: int, allowed: bool, materialize: bool, count: int | None = None
) -> Tensor | None:
    """What there is instead of the gradient of an input that no output depends on."""
    if materialize:
        zeros = make(full_like_value(0.0, x._value), None)
        return zeros if count is None else _stack([zeros] * count)
    if allowed:
        return None
    raise RuntimeError(
        f"grad(): there is no path from the outputs to inputs[{i}] (shape {x.shape}"
        f"{', name ' + repr(x.name) if x.name else ''}). Was it used, or cut by detach(), "
        "no_grad() or numpy()? Say allow_unused=True to get None instead."
    )


def _stack(parts: list[Tensor]) -> Tensor:
    from .functions.joining import stack

    return stack(parts)  # type: ignore[no-any-return]


def _mapped_gradients(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: Any, retain: bool, graph: bool
) -> list[Any]:
    """The gradients for each of many cotangents, which lie along the first dimension."""
    from .batching import vmap

    for i, (y, g) in enumerate(zip(outputs, cotangents, strict=True)):
        if getattr(g, "shape", None) is None or tuple(g.shape[1:]) != y.shape or not g.shape:
            raise RuntimeError(
                f"grad(): with is_grads_batched=True, grad_outputs[{i}] must be a tensor of shape "
                f"(count, {', '.join(map(str, y.shape))}), not "
                f"{getattr(g, 'shape', type(g).__name__)}"
            )
    reached: list[int] = []

    def one(*given: Tensor) -> Any:
        found = grad(outputs, inputs, given, retain, graph, True)
        reached[:] = [i for i, g in enumerate(found) if g is not None]
        return tuple(found[i] for i in reached)

    results = vmap(one)(*cotangents)
    found = dict(zip(reached, results, strict=True))
    return [found.get(i) for i in range(len(inputs))]
