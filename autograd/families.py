"""Primitives: the only functions with derivatives of their own, each stated once.

A primitive is one block: forward (on raw arrays), derivative (in tensor ops), samples of its
domain. Four families turn a single statement into both directions of differentiation:

=============  ============================================  ===============================
family         you state                                     y depends on x by
=============  ============================================  ===============================
elementwise    the partial derivatives dy/dx_i (y, *xs)      dy = sum_i partial_i * dx_i
linear         the transpose (g, x)                          dy = f(dx)
bilinear       the two transposes (g, y, a, b)               dy = f(da, b) + f(a, db)
reduction      the weight (y, x)                             dy = sum(weight * dx)
=============  ============================================  ===============================

Any other primitive states its VJP, one rule per operand ``(g, y, *xs, **params)``, and the
forward direction is the transpose of that. Rules are linear in ``g``, never divide by it and
never branch on its value. They are written with operators and the engine's own functions, which
compute directly on raw arrays and record on Tensors: one text serves the fast first-order walk,
higher orders and symbols. An argument whose name begins with an underscore is not read, so the
value it stands for may be overwritten in place after use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .applying import apply
from .calling import binary, expose, generic, plain, short_linear, takes_params, unary
from .registry import REGISTRY, Primitive, Sample
from .tensors import Tensor, make
from .values import (
    full_like_value,
    shape_of,
)


def _elementwise_rule(partial: Any, arity: int, plain: bool) -> Callable[..., Any] | None:
    if callable(partial):
        if plain and arity == 1:  # without *args: these run once per node of a scalar graph
            return lambda g, y, x: g * partial(y, x)
        if plain and arity == 2:
            return lambda g, y, a, b: g * partial(y, a, b)
        return lambda g, *values, **params: g * partial(*values, **params)
    if partial == 1.0:
        return None  # the cotangent itself
    if partial == -1.0:
        return (lambda g, _y, _a, _b: -g) if plain and arity == 2 else lambda g, *_v, **_p: -g
    if partial == 0.0:
        return lambda g, *_values, **_params: _zero(g)
    return lambda g, *_values, **_params: g * partial


def _zero(g: Any) -> Any:
    if isinstance(g, Tensor):
        return make(full_like_value(0.0, g._value), None)
    return full_like_value(0.0, g)


def elementwise(
    name: str,
    forward: Callable[..., Any],
    *partials: Any,
    scalar: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    analytic: bool = False,
    rules: Sequence[Any] | None = None,
    override: bool = False,
) -> Any:
    """A primitive that works element by element, with broadcasting.

    ``partials``: one per operand, the partial derivative as a function ``(y, *xs)`` or a number.
    ``rules``: in place of partials, the products ``(g, y, *xs) -> g * partial`` themselves, for
    operations that select (an infinite cotangent must not become NaN where nothing passes).
    ``floating``: integer operands are first cast to the default float dtype.
    ``analytic``: holds for complex arguments too, so that the checker may use the complex step.
    """
    plain = not takes_params(forward)
    if rules is not None:
        partials = tuple(1.0 if rule is None else _at_one(rule) for rule in rules)
    op = Primitive(
        name,
        forward,
        family="elementwise",
        rules=rules or [_elementwise_rule(p, len(partials), plain) for p in partials],
        samples=samples,
        doc=doc,
        scalar=scalar,
        floating=floating,
        analytic=analytic,
        reads=[p if callable(p) else None for p in rules or partials],
    )
    op.statement = partials
    simple = {1: unary, 2: binary} if plain else {}
    return _register(op, simple.get(len(partials), generic), override)


def _at_one(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The partial derivative that a product rule states: its value at the cotangent 1."""
    return lambda *values, **params: rule(1.0, *values, **params)


def _register(op: Primitive, builder: Any, override: bool) -> Any:
    if override and op.name in REGISTRY:
        # Callers hold the function, and the function its primitive: replace in place.
        known = REGISTRY[op.name]
        function = known.function
        known.__dict__.clear()  # a rule for batches, too, which is of the old forward
        known.__dict__.update(op.__dict__)
        known.function = function
        known.overridden = True  # type: ignore[attr-defined]
        if hasattr(function, "reload"):  # the common cases hold the forward itself
            function.reload()
        if op.doc:
            function.__doc__ = op.doc
        return function
    return expose(op, builder(op))


def linear(
    name: str,
    forward: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    view: bool = False,
    override: bool = False,
) -> Any:
    """A primitive linear in its one operand: ``transpose(g, x, **params)`` is its adjoint.

    Only the shape and dtype of ``x`` may be used. ``view``: the result may share x's memory.
    """
    op = Primitive(
        name,
        forward,
        family="linear",
        rules=[lambda g, _y, x, **params: transpose(g, x, **params)],
        samples=samples,
        doc=doc,
        floating=False,
        promotes=None,
        view=view,
        analytic=True,
    )
    op.statement = transpose
    return _register(op, short_linear, override)


def linear_many(
    name: str,
    forward: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    parts: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    override: bool = False,
) -> Any:
    """A primitive linear in all its operands together (cat, stack): ``transpose(i, g, *xs)``
    is what operand ``i`` gets; only shapes of ``xs`` may be used. ``parts(g, xs)`` may give the
    same as a function of ``i``, for operations of very many operands."""
    op = Primitive(
        name,
        forward,
        family="linear",
        pull=lambda i, g, _y, *xs, **params: transpose(i, g, *xs, **params),
        samples=samples,
        doc=doc,
        floating=False,
        analytic=True,
    )
    op.statement = transpose
    if parts is not None:
        op.parts = lambda g, _y, xs, **params: parts(g, xs, **params)
    return _register(op, generic, override)


def bilinear(
    name: str,
    forward: Callable[..., Any],
    left: Callable[..., Any],
    right: Callable[..., Any],
    *,
    scalar: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = False,
    elementwise: bool = False,
    override: bool = False,
) -> Any:
    """A primitive linear in each of two operands: ``left(g, y, a, b)`` is what a gets (of a and y
    only the shape may be used), ``right(g, y, a, b)`` what b gets."""
    op = Primitive(
        name,
        forward,
        family="bilinear",
        rules=[left, right],
        samples=samples,
        doc=doc,
        scalar=scalar,
        floating=floating,
        analytic=True,
        reads=[left, right],
    )
    op.statement = (left, right)
    return _register(op, binary if elementwise else plain, override)


def _reducing(op: Primitive) -> Callable[..., Any]:
    """The function of a user's reduction: dimensions in every form, canonical for its rules."""

    def function(
        input: Any,
        dim: Any = None,
        keepdim: bool = False,
        *,
        axis: Any = None,
        keepdims: bool = False,
        **params: Any,
    ) -> Any:
        from .functions.dims import reduced_dims

        params["axis"] = reduced_dims(dim, axis, len(shape_of(input)), op.name)
        params["keepdims"] = bool(keepdim or keepdims)
        return apply(op, (input,), params)

    return function


def reduction(
    name: str,
    forward: Callable[..., Any],
    weight: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    analytic: bool = False,
    override: bool = False,
    builder: Callable[..., Any] = generic,
) -> Any:
    """A primitive that reduces over ``axis`` (a tuple) with ``keepdims``: dy = sum(weight · dx).

    ``weight(y, x, axis, **params)`` gets y with the reduced dimensions kept as length 1
    (or as a scalar, where nothing else is left).
    """

    def rule(
        g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool, **params: Any
    ) -> Any:
        from .ops.shaping import expand_dims

        if not keepdims and shape_of(g):  # a scalar fits as it is
            g, y = expand_dims(g, axis=axis), expand_dims(y, axis=axis)
        return g * weight(y, x, axis=axis, **params)

    op = Primitive(
        name,
        forward,
        family="reduction",
        rules=[rule],
        samples=samples,
        doc=doc,
        floating=floating,
        analytic=analytic,
        reads=[weight],
    )
    op.statement = weight
    return _register(op, builder, override)


def general(
    name: str,
    forward: Callable[..., Any],
    *rules: Callable[..., Any],
    indexed: Callable[..., Any] | None = None,
    parts: Callable[..., Any] | None = None,
    push: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    floating: bool = True,
    promotes: int | None = 0,
    analytic: bool = False,
    partial_cotangents: bool = False,
    override: bool = False,
) -> Any:
    """A primitive that states its VJP: one rule per operand ``(g, y, *xs, **params)``, or
    ``indexed(i, g, y, *xs, **params)`` for any number of operands, or, where what they get has
    much in common, ``parts(g, y, xs, **params)``, a function of ``i``.

    ``push(tangents, y, *xs, **params)`` may state the forward direction where the transpose of
    the VJP would be wasteful. A forward that returns a tuple makes an operation of several
    outputs; ``g`` and ``y`` are then tuples. With ``partial_cotangents``, ``g`` has None instead
    of zeros for the outputs that nobody used.
    """
    if parts is not None:
        indexed = lambda i, g, y, *xs, **params: parts(g, y, xs, **params)(i)
    op = Primitive(
        name,
        forward,
        family="general" if indexed is None else "indexed",
        rules=rules if indexed is None else None,
        pull=indexed,
        push=push,
        samples=samples,
        doc=doc,
        floating=floating,
        promotes=promotes,
        analytic=analytic,
        reads=list(rules) if indexed is None else [indexed],
    )
    op.partial_cotangents = partial_cotangents
    op.statement, op.parts = rules, parts
    return _register(op, generic, override)


def constant(
    name: str,
    forward: Callable[..., Any],
    *,
    samples: Sequence[Sample] = (),
    doc: str | None = None,
    promotes: int | None = None,
) -> Any:
    """An operation without a derivative (comparisons, argmax, ...): its result is off the tape."""
    op = Primitive(
        name,
        forward,
        family="constant",
        samples=samples,
        doc=doc,
        floating=False,
        promotes=promotes,
    )
    return _register(op, plain, False)


def primitive(
    name: str,
    forward: Callable[..., Any],
    *,
    partials: Sequence[Any] | Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    transposes: Sequence[Callable[..., Any]] | None = None,
    weight: Callable[..., Any] | None = None,
    vjp: Sequence[Callable[..., Any] | None] | Callable[..., Any] | None = None,
    samples: Sequence[Any],
    doc: str | None = None,
    override: bool = False,
    **options: Any,
) -> Any:
    """Add an operation of your own, or replace a known one by a stabler form, in one block.

    ``forward`` computes on NumPy arrays, or scalars for 0-d tensors. It changes none of its
    operands and returns fresh memory; parameters of the operation are keyword-only. State the
    derivative in one of five ways, in tensor ops (they compute on arrays and record on Tensors):

    - ``partials``: elementwise, one function ``(y, *xs)`` (or number) per operand;
    - ``transpose``: linear, ``(g, x, **params)``;
    - ``transposes``: bilinear, a pair of ``(g, y, a, b, **params)``;
    - ``weight``: a reduction, ``(y, x, axis)``, of a ``forward(x, *, axis, keepdims)``; both get
      ``axis`` as a tuple, and ``y`` comes with the reduced dimensions kept as length 1. The
      operation itself takes ``dim`` and ``keepdim`` as ``sum`` does;
    - ``vjp``: anything else, one rule ``(g, y, *xs, **params)`` per operand, None for an operand
      without a derivative. Where the forward returns a tuple, ``g`` and ``y`` are tuples.

    ``samples``: operands inside the domain, off kinks, as tuples of arrays (or ``tg.Sample`` with
    parameters); they drive the derivative tests of everything in the registry. Arguments of a
    rule whose names begin with an underscore are declared unread. ``override=True`` replaces the
    primitive of that name for all its callers.

    ``options``, where the family has them: ``floating=False`` keeps integer operands as they are
    (else they are cast to the default dtype), ``promotes=None`` (with ``vjp``) lets operands of
    different dtypes stay so, ``analytic=True`` says that forward holds for complex arguments.

    Raises ValueError when the name is taken, when not exactly one derivative is stated, or when
    the samples have not one operand per rule.

    >>> import numpy as np, tapegrad as tg
    >>> cube = tg.primitive(
    ...     "doc_cube", lambda x: x * x * x, partials=lambda _y, x: 3 * x * x, samples=[([0.5],)]
    ... )
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor(12.)
    """
    stated = {
        k: v
        for k, v in {
            "partials": partials,
            "transpose": transpose,
            "transposes": transposes,
            "weight": weight,
            "vjp": vjp,
        }.items()
        if v is not None
    }
    if len(stated) != 1:
        raise ValueError(
            f"primitive {name!r}: state the derivative in exactly one way (partials, transpose, "
            f"transposes, weight or vjp), not {sorted(stated) or 'none'}"
        )
    if not samples:
        raise ValueError(f"primitive {name!r} needs samples of its domain, which its tests run on")
    options.update(
        samples=[s if isinstance(s, Sample) else Sample(*s) for s in samples],
        doc=doc,
        override=override,
    )
    for rules in (partials, vjp):
        count = len(rules) if isinstance(rules, (list, tuple)) else 1
        for sample in options["samples"] if rules is not None else ():
            if len(sample.arrays) != count:
                raise ValueError(
                    f"primitive {name!r}: {count} rule(s) are stated, one per operand, but the "
                    f"sample {sample} has {len(sample.arrays)} operand(s)"
                )
    if partials is not None:
        return elementwise(
            name,
            forward,
            *(partials if isinstance(partials, (list, tuple)) else [partials]),
            **options,
        )
    if transpose is not None:
        return linear(name, forward, transpose, **options)
    if transposes is not None:
        return bilinear(name, forward, *transposes, **options)
    if weight is not None:
        return reduction(name, forward, weight, builder=_reducing, **options)
    assert vjp is not None
    pulls = [vjp] if callable(vjp) else [_nothing if rule is None else rule for rule in vjp]
    return general(name, forward, *pulls, **options)


def _nothing(_g: Any, *_values: Any, **_params: Any) -> None:
    """The rule of an operand without a derivative."""
