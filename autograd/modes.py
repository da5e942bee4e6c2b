"""Whether operations are recorded: grad mode and anomaly detection.

The mode is one immutable object in a context variable, so that it is independent in every
thread and every asyncio task. ``None`` means the default (recording, no checks), which is what
the fast path of an operation tests for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Mode(NamedTuple):
    """What is special about the current context."""

    grad: bool = True
    anomaly: bool = False
    check_nan: bool = True
    within: Any = None  # for anomalies: the operation whose derivative is being recorded, its place


DEFAULT = Mode()
MODE: ContextVar[Mode | None] = ContextVar("tapegrad_mode", default=None)
current = MODE.get
_RECORDING = {"grad": True}


def replace(**changes: bool) -> Mode | None:
    """The current mode with some fields changed, in canonical form (default is None)."""
    mode = current()
    if mode is None and changes == _RECORDING:
        return None  # the common case, spelled out
    mode = (mode or DEFAULT)._replace(**changes)
    return None if mode == DEFAULT else mode


class _Switch:
    """A mode change usable as ``with switch():`` and as a decorator; nests and re-enters."""

    _changes: dict[str, bool] = {}

    def __init__(self) -> None:
        self._tokens: list[Any] = []

    def __enter__(self) -> _Switch:
        self._tokens.append(MODE.set(replace(**self._changes)))
        return self

    def __exit__(self, *exc: object) -> None:
        # One object may be entered in several threads or tasks at once: a token of another
        # context is refused, so take the latest of our own.
        for token in reversed(self._tokens):
            try:
                MODE.reset(token)
            except ValueError:
                continue
            self._tokens.remove(token)
            return

    def _again(self) -> _Switch:
        """A fresh switch for one call of a decorated function (threads share the decorator)."""
        return type(self)()

    def __call__(self, function: F) -> F:
        import inspect

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                # The mode holds while the generator's own code runs, never in the caller's.
                with self._again():
                    inner = function(*args, **kwargs)
                step: Any = inner.send
                value: Any = None
                try:
                    while True:
                        try:
                            with self._again():
                                item = step(value)
                        except StopIteration as stop:
                            return stop.value
                        try:
                            step, value = inner.send, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step, value = inner.throw, error
                finally:
                    with self._again():
                        inner.close()

            return generator  # type: ignore[return-value]

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def stream(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    inner = function(*args, **kwargs)
                step: Any = inner.asend
                value: Any = None
                try:
                    while True:
                        try:
                            with self._again():
                                item = await step(value)
                        except StopAsyncIteration:
                            return
                        try:
                            step, value = inner.asend, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step, value = inner.athrow, error
                finally:
                    with self._again():
                        await inner.aclose()

            return stream  # type: ignore[return-value]

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return coroutine  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __init_subclass__(cls) -> None:
        cls.__new__ = _bare_decorator  # type: ignore[method-assign,assignment]


def _bare_decorator(cls: type[_Switch], *args: Any, **kwargs: Any) -> Any:
    """Allow ``@no_grad`` without parentheses, as torch does."""
    if len(args) == 1 and callable(args[0]) and not kwargs:
        switch = object.__new__(cls)
        switch.__init__()  # type: ignore[misc]
        return switch(args[0])
    return object.__new__(cls)


class no_grad(_Switch):
    """Record nothing inside: a context manager and a decorator.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * 3
    >>> y.requires_grad
    False
    """

    _changes = {"grad": False}


class inference_mode(_Switch):
    """The same as :class:`no_grad`, by torch's other name; ``mode=False`` records again.

    Torch's makes tensors that may never take part in recording, to save some time. Here nothing
    would be saved, so its results are ordinary tensors that are off the tape.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.inference_mode():
    ...     y = x * 3
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._changes = {"grad": not mode}

    def _again(self) -> _Switch:
        return type(self)(not self._changes["grad"])


class enable_grad(_Switch):
    """Record again inside a ``no_grad`` block: a context manager and a decorator.

    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = x * 3
    >>> y.requires_grad
    True
    """

    _changes = {"grad": True}


class _AtOnce(_Switch):
    """A mode change at once when called, and back at the end of a ``with``."""

    def __init__(self, **changes: bool) -> None:
        super().__init__()
        self._changes = changes
        self._before = current()
        self._stack: list[Any] = []
        MODE.set(replace(**changes))

    def __enter__(self) -> Any:
        self._stack.append(current() if self._stack else self._before)
        MODE.set(replace(**self._changes))
        return self

    def __exit__(self, *exc: object) -> None:
        MODE.set(self._stack.pop())

    def __call__(self, function: F) -> F:
        MODE.set(self._before)  # used as a decorator, the call itself must not switch
        return super().__call__(function)


class set_grad_enabled(_AtOnce):
    """Switch recording on or off: at once when called, and back at the end of a ``with``.

    >>> import tapegrad as tg
    >>> with tg.set_grad_enabled(False):
    ...     tg.is_grad_enabled()
    False
    >>> tg.is_grad_enabled()
    True
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(grad=bool(mode))

    def _again(self) -> _Switch:
        return type(self)(self._changes["grad"])


class detect_anomaly(_Switch):
    """Raise at the first NaN, naming the operation and the line that called it.

    Checks results in the forward pass and cotangents in the backward pass. Slow: for finding
    a fault, not for training.

    >>> import tapegrad as tg
    >>> x = tg.tensor(0.0, requires_grad=True)
    >>> with tg.detect_anomaly():
    ...     y = tg.where(x > 0, tg.sqrt(x), 0.0)
    ...     y.backward()  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    RuntimeError: the backward rule of 'sqrt' produced NaN ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__()
        self._changes = {"anomaly": True, "check_nan": bool(check_nan)}

    def _again(self) -> _Switch:
        return type(self)(self._changes["check_nan"])


class set_detect_anomaly(_AtOnce):
    """Switch :class:`detect_anomaly` on or off: at once when called, and back at the end of a
    ``with``.

    >>> import tapegrad as tg
    >>> with tg.set_detect_anomaly(True):
    ...     tg.log(tg.tensor(-1.0, requires_grad=True))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    RuntimeError: the forward of 'log' produced NaN ...
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(anomaly=bool(mode), check_nan=bool(check_nan) or not mode)

    def _again(self) -> _Switch:
        return type(self)(self._changes["anomaly"], self._changes["check_nan"])


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread and context.

    >>> import tapegrad as tg
    >>> tg.is_grad_enabled()
    True
    """
    mode = current()
    return mode is None or mode.grad
