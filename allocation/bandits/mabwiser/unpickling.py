"""Reads a pickled ``MAB`` without letting the pickle call what it likes.

A pickle is a program. This reader lets it make the objects that a ``MAB`` consists of and nothing else: what the file
names besides (a binarizer of the analyst's own, say) becomes a stand-in that refuses to be used. That stops a pickle
that imports ``os.system``; it is no proof against a file that was made to damage numpy or scikit-learn from within.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any, NoReturn

_SAFE = frozenset({
    ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "slice"), ("builtins", "complex"),
    ("collections", "defaultdict"), ("collections", "OrderedDict"), ("functools", "partial"),
    ("copyreg", "_reconstructor"), ("builtins", "object"), ("_codecs", "encode"),
    ("numpy", "ndarray"), ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"),
    ("numpy.random._pickle", "__generator_ctor"), ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._pcg64", "PCG64"), ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("sklearn.cluster._kmeans", "KMeans"), ("sklearn.cluster._kmeans", "MiniBatchKMeans"),
    ("sklearn.preprocessing._data", "StandardScaler"),
    ("sklearn.tree._classes", "DecisionTreeRegressor"), ("sklearn.tree._tree", "Tree"),
})  # fmt: skip
_MABWISER = frozenset({
    "mab", "base_mab", "clusters", "greedy", "linear", "popularity", "rand", "softmax", "thompson", "treebandit", "ucb",
    "utils", "neighbors", "approximate",
})  # fmt: skip


class _Unusable:
    """Stands for something that the file names and that is not let through."""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise pickle.UnpicklingError(f"it uses {cls.__name__}, which is not part of a MAB")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SAFE:
            return super().find_class(module, name)
        if module.partition(".")[0] == "mabwiser" and module.partition(".")[2] in _MABWISER and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:  # and not what that module imports
                return found
        return type(f"{module}.{name}", (_Unusable,), {})


def loads(data: bytes) -> Any:
    r"""Return the object of a pickle that consists of mabwiser, numpy and scikit-learn only.

    Raises:
        ValueError: bytes that are no pickle, or one that wants to use anything else.

    >>> loads(b"cos\nsystem\n(S'true'\ntR.")
    Traceback (most recent call last):
    ValueError: not a readable MAB: it uses os.system, which is not part of a MAB
    """
    import mabwiser.mab  # noqa: F401 - names that the file asks for are found in it

    try:
        return _Reader(BytesIO(data)).load()
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises whatever its objects do
        raise ValueError(f"not a readable MAB: {error}") from None
