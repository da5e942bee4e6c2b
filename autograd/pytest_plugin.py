"""A pytest plugin: the fixture ``gradcheck``, registered on installation.

::

    def test_softplus(gradcheck):
        gradcheck(tg.softplus, np.linspace(-3, 3, 7))
"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def gradcheck() -> Any:
    """``gradcheck(f, *inputs, order=2, modes=("fwd", "rev"), ...)``: fail with a table of the
    derivatives of ``f`` that differ from finite differences.

    ``inputs`` are positional inputs of ``f`` (Tensors, arrays, numbers); a single tuple, list or
    dict is taken as :func:`tapegrad.check_grads` takes it, and so are the keyword arguments.
    """

    def check(f: Any, *inputs: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # the table is what one wants to see, not the checker's frames
        from .check_report import GradcheckError
        from .checking import check_grads

        try:
            return check_grads(f, inputs[0] if len(inputs) == 1 else inputs, **options)
        except GradcheckError as error:
            raise GradcheckError(f"{error}", error.report) from None

    return check
