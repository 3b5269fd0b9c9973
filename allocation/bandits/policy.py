"""One version of a policy: immutable numbers, and the file they travel in.

A policy turns a member's values into scores (expected profit), and scores into probabilities. It was trained somewhere
else (`allocation.bandits.learning`); what is here needs numpy only. Its file is an npz without pickles: a JSON header
and plain arrays. Equal policies have equal bytes, so the file's SHA-256 names the version's content.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from allocation.bandits.encoding import Encoded, Encoder, Value
from allocation.bandits.scoring import Scorer

Kind = Literal["contextual", "table", "uniform"]
Rule = Literal["igw", "thompson", "linucb", "greedy", "softmax", "samples", "proportional"]
Model = Literal["logistic", "hurdle", "linear"]
Cells = Literal["none", "centroids", "trees"]
Floats = NDArray[np.float64]

FORMAT = 1
"""Version of the file. A reader refuses a higher one."""
MAX_BYTES = 1 << 30
"""A file that would unfold into more is refused."""
NOTHING = Encoder()
_ARRAYS = {
    "coef": "<f8", "amount": "<f8", "worth": "<f8", "contact": "<f8", "spread": "<f4", "normals": "<f8",
    "table": "<f8", "samples": "<f8", "centroids": "<f8", "tree_roots": "<i4", "tree_column": "<i4",
    "tree_threshold": "<f8", "tree_left": "<i4", "tree_right": "<i4", "tree_cell": "<i4",
}  # fmt: skip
_PLACES = "spread_places"
"""Array of the places of a triangle that are not zero for every variant; where that is shorter, the file has no others.
Indicators of values that were never missing have nothing but their diagonal: three quarters of the places, where all
features are numeric."""


class _Header(msgspec.Struct, frozen=True):
    """What of a policy is no array."""

    format: int
    variants: tuple[str, ...]
    kind: Kind
    rule: Rule
    encoder: Encoder
    model: Model
    scale: float
    sharpness: float
    effective_rows: float
    optimism: float
    seed: int
    draws: int
    cells: Cells


@dataclass(frozen=True, eq=False)
class Policy:
    """One version of a policy, for K variants and P columns of the encoder's design.

    ``contextual``: with η = coef · row, a variant's expected profit is σ(η) · worth − contact (``logistic``),
    σ(η) · amount(x) − contact (``hurdle``) or η − contact (``linear``). ``table``: it is read from the row of the cell
    that the member falls into. A score is the profit over ``scale``. Rules, from scores to probabilities:

    - ``igw``: inverse-gap weighting with γ = sharpness · √(effective_rows · eligible variants);
    - ``thompson``: share of ``draws`` frozen normals in which a variant comes out best, its η having the standard
      deviation optimism · ‖Lᵀ row‖; ``linucb``: the best of η plus that deviation; ``greedy``: the best score;
    - ``softmax``: ∝ exp(score / optimism); ``proportional``: ∝ score, negative ones as 0;
    - ``samples``: share of the cell's frozen ``samples`` in which a variant is the best of those eligible.

    The best of equal ones share their probability.

    Raises:
        ValueError: arrays that do not fit together, or hold something that is no finite number.

    >>> policy = Policy(variants=("control", "a"), kind="contextual", rule="greedy", model="linear",
    ...                 coef=np.array([[1.0], [2.0]]), contact=np.array([0.0, 0.5]))
    >>> policy.scores([]), policy.probabilities([], [0, 1]), policy.probabilities([], [0])
    ([1.0, 1.5], [0.0, 1.0], [1.0])
    """

    variants: tuple[str, ...]
    kind: Kind = "uniform"
    rule: Rule = "igw"
    encoder: Encoder = NOTHING
    model: Model = "linear"
    coef: Floats | None = None
    """(K, P)."""
    amount: Floats | None = None
    """hurdle: what a conversion earns, (K,) or linear in the row (K, P)."""
    worth: Floats | None = None
    """logistic: what a conversion earns, (K,)."""
    contact: Floats | None = None
    """(K,): what showing the variant costs; ``None`` is nothing."""
    scale: float = 1.0
    """Amount that is one unit of score: the standard deviation of matured rewards, frozen in the version."""
    spread: NDArray[np.float32] | None = None
    """(K, P(P+1)/2): each variant's lower triangle L by rows, with L Lᵀ the covariance of its coefficients."""
    sharpness: float = 16.0
    effective_rows: float = 0.0
    optimism: float = 1.0
    seed: int = 0
    draws: int = 100
    normals: Floats | None = None
    """thompson: (draws, K); made from ``seed`` where not given, and kept in the file, because the generator's stream
    may differ between versions of numpy."""
    cells: Cells = "none"
    """table: ``none`` is one cell; ``centroids``: the nearest one to the design row; ``trees``: the leaf."""
    table: Floats | None = None
    """(C, K) expected profit, or preferences; (C, 1) where each variant has cells of its own."""
    samples: Floats | None = None
    """samples: (C, S, K), or (C, S, 1) where each variant has cells of its own."""
    centroids: Floats | None = None
    """(C, P)."""
    tree_roots: NDArray[np.int32] | None = None
    """(1,) one tree for all, or (K,) one for each variant: index of its first node."""
    tree_column: NDArray[np.int32] | None = None
    """Of each node: the column of the design it asks about, −1 in a leaf."""
    tree_threshold: Floats | None = None
    """Of each node: a row goes left when its value, as a 32-bit float (scikit-learn's trees), is not above this."""
    tree_left: NDArray[np.int32] | None = None
    tree_right: NDArray[np.int32] | None = None
    tree_cell: NDArray[np.int32] | None = None
    """Of each node: its cell, −1 where it is no leaf."""

    def __post_init__(self) -> None:
        if self.kind == "contextual" and self.rule == "thompson" and self.normals is None:
            normals = np.random.default_rng(self.seed).standard_normal((self.draws, len(self.variants)))
            object.__setattr__(self, "normals", normals)
        for name, kind in _ARRAYS.items():
            array = getattr(self, name)
            if array is not None:
                array = np.ascontiguousarray(array, kind)
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} holds something that is no finite number")
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        _check(self)

    @cached_property
    def scorer(self) -> Scorer:
        """The policy made ready for scoring."""
        return Scorer(self)

    def encode(self, attributes: Mapping[str, Any]) -> list[Value]:
        """Return a member's values, as they are logged."""
        return self.encoder.encode(attributes)

    def scores(self, x: Sequence[Value]) -> list[float]:
        """Return each variant's expected profit over ``scale``, length K."""
        return self.scorer.scores(x)

    def probabilities(self, x: Sequence[Value], eligible: Sequence[int]) -> list[float]:
        """Return the probability of each eligible variant (their indices), before any floor; they sum to 1."""
        return self.scorer.probabilities(x, eligible)

    def scores_batch(self, encoded: Encoded) -> Floats:
        """Return the scores of many members, shape (n, K)."""
        return self.scorer.scores_batch(encoded)

    def probabilities_batch(self, encoded: Encoded, eligible: NDArray[np.bool_] | None = None) -> Floats:
        """Return the probabilities of many members, shape (n, K): 0 where not eligible, all 0 where nothing is."""
        return self.scorer.probabilities_batch(encoded, eligible)


def to_bytes(policy: Policy) -> bytes:
    """Return the policy's file. Equal policies, equal bytes.

    >>> data = to_bytes(Policy(variants=("control", "a")))
    >>> from_bytes(data).variants, to_bytes(from_bytes(data)) == data
    (('control', 'a'), True)
    """
    header = _Header(FORMAT, **{name: getattr(policy, name) for name in _Header.__struct_fields__[1:]})
    text = np.frombuffer(msgspec.json.encode(header), np.uint8)
    arrays = {"header": text, **{name: getattr(policy, name) for name in _ARRAYS}}
    if policy.spread is not None:
        places = np.flatnonzero((policy.spread != 0).any(axis=0)).astype("<i4")
        if len(places) < 0.75 * policy.spread.shape[1]:
            arrays |= {"spread": np.ascontiguousarray(policy.spread[:, places]), _PLACES: places}
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            if array is not None:
                body = BytesIO()
                np.lib.format.write_array(body, array, version=(1, 0), allow_pickle=False)
                # The date is fixed, because the same policy has the same file whenever it is written; so are the host
                # system and the permissions. It is not compressed: zlib's output differs between its versions.
                entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                entry.external_attr = 0o600 << 16
                archive.writestr(entry, body.getvalue())
    return file.getvalue()


def sha256_of(data: bytes) -> str:
    """Return the 64 hex digits that name a file."""
    return hashlib.sha256(data).hexdigest()


def from_bytes(data: bytes) -> Policy:
    """Read a policy's file.

    Raises:
        ValueError: bytes that are no policy, a damaged one, or one of a newer format.

    >>> from_bytes(b"not a policy")
    Traceback (most recent call last):
    ValueError: not a readable policy: File is not a zip file
    """
    try:
        return _read(data)
    except KeyError:
        raise ValueError("not a readable policy: it has no header") from None
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a readable policy: {error}") from None


def _read(data: bytes) -> Policy:
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError("it is too large")
        for entry in archive.infolist():
            body = BytesIO(archive.read(entry))  # which checks its CRC
            arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(body, allow_pickle=False)
    header = msgspec.json.decode(arrays.pop("header").tobytes(), type=_Header)
    if header.format > FORMAT:
        raise ValueError(f"it has format {header.format} and this version reads up to {FORMAT}; upgrade this node")
    places = arrays.pop(_PLACES, None)
    for name, array in arrays.items():
        if _ARRAYS.get(name) != array.dtype.str:
            raise ValueError(f"array {name} is unknown, or of another type")
    if places is not None:
        arrays["spread"] = _unpacked(arrays["spread"], places, len(header.encoder.columns))
    return Policy(**{name: getattr(header, name) for name in _Header.__struct_fields__[1:]}, **arrays)


def _unpacked(short: NDArray[np.float32], places: NDArray[np.int32], columns: int) -> NDArray[np.float32]:
    """Return the triangles of which only some places are in the file."""
    size = columns * (columns + 1) // 2
    if short.ndim != 2 or places.dtype.str != "<i4" or places.shape != short.shape[1:]:
        raise ValueError("the places of its spread do not fit")
    if len(short) * size * short.itemsize > MAX_BYTES or (len(places) and not 0 <= places.min() <= places.max() < size):
        raise ValueError("the places of its spread lie outside")
    spread = np.zeros((len(short), size), np.float32)
    spread[:, places] = short
    return spread


def _check(policy: Policy) -> None:
    k, columns = len(policy.variants), len(policy.encoder.columns)
    if not k or len(set(policy.variants)) < k:
        raise ValueError("variants must have different keys, and there must be one")
    numbers = (policy.scale, policy.sharpness, policy.effective_rows, policy.optimism)
    if not all(np.isfinite(numbers)) or policy.scale <= 0 or min(numbers) < 0:
        raise ValueError("scale must be above 0; sharpness, effective_rows and optimism at least 0")
    for code in policy.encoder.features:
        if not (code.scale > 0 and abs(code.centre) < np.inf and -1e9 <= code.low < code.high <= 1e9):
            raise ValueError(f'feature "{code.attribute}" has a scale or bounds that cannot be used')
    if policy.kind == "table":
        _check_table(policy, k, columns)
    for name, shapes in _shapes(policy, k, columns).items():
        array = getattr(policy, name)
        if array is None or array.shape not in shapes:
            found = "missing" if array is None else f"of shape {array.shape}"
            raise ValueError(f"{name} is {found}; it must have shape {' or '.join(map(str, shapes))}")


def _shapes(policy: Policy, k: int, columns: int) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the shapes that the arrays a policy needs may have."""
    needs: dict[str, tuple[tuple[int, ...], ...]] = {}
    if policy.contact is not None:
        needs["contact"] = ((k,),)
    if policy.kind == "contextual":
        if policy.rule == "samples":
            raise ValueError("rule samples belongs to tables")
        needs["coef"] = ((k, columns),)
        if policy.model == "logistic":
            needs["worth"] = ((k,),)
        if policy.model == "hurdle":
            needs["amount"] = ((k,), (k, columns))
        if policy.rule in {"thompson", "linucb"}:
            needs["spread"] = ((k, columns * (columns + 1) // 2),)
        if policy.rule == "thompson":
            needs["normals"] = ((policy.draws, k),)
    return needs


def _check_table(policy: Policy, k: int, columns: int) -> None:
    if policy.rule in {"thompson", "linucb"}:
        raise ValueError(f"rule {policy.rule} does not belong to tables")
    cells = policy.samples if policy.rule == "samples" else policy.table
    if cells is None or cells.ndim != (3 if policy.rule == "samples" else 2) or 0 in cells.shape:
        raise ValueError(f"{'samples' if policy.rule == 'samples' else 'table'} is missing or has another shape")
    own = 0
    if policy.cells == "none":
        fits = len(cells) == 1
    elif policy.cells == "centroids":
        fits = policy.centroids is not None and policy.centroids.shape == (len(cells), columns)
    else:
        fits, own = _check_trees(policy, k, columns, len(cells))
    if not fits or cells.shape[-1] not in ({k, 1} if own == k else {k}):
        raise ValueError(f"cells of kind {policy.cells} do not fit the table")


def _check_trees(policy: Policy, k: int, columns: int, cells: int) -> tuple[bool, int]:
    """Return whether the trees are sound, and how many there are. A node's children come after it: no circles."""
    roots, column, threshold = policy.tree_roots, policy.tree_column, policy.tree_threshold
    left, right, cell = policy.tree_left, policy.tree_right, policy.tree_cell
    if roots is None or column is None or threshold is None or left is None or right is None or cell is None:
        return False, 0
    nodes = np.arange(len(column))
    if len(roots) not in {1, k} or any(array.shape != nodes.shape for array in (threshold, left, right, cell)):
        return False, 0
    inner = column >= 0
    sound = (
        (roots >= 0).all() and (roots < len(nodes)).all() and (column < columns).all()
        and all((ends[inner] > nodes[inner]).all() and (ends[inner] < len(nodes)).all() for ends in (left, right))
        and (cell[~inner] >= 0).all() and (cell[~inner] < cells).all()
    )  # fmt: skip
    return bool(sound), len(roots)
