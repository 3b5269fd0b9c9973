"""One thread for scikit-learn: its threads wait busily, so two processes on one machine would hold each other up."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which boosted trees are grown and asked on one thread.

    >>> with one_thread():
    ...     pass
    """
    limit: AbstractContextManager[Any] = _threads().limit(limits=1, user_api="openmp")
    return limit


@cache
def _threads() -> Any:
    # Loaded before it is asked which libraries with threads there are.
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
