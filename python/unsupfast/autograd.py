"""Reverse-mode differentiation: a tape of operations whose rules are written with operations.

An operation (:class:`Op`) is a function of arrays. Called with arrays alone it computes and records
nothing; called with a :class:`Tensor` it also leaves a node on the tape. Its *rule* gives the
gradients by its inputs, in terms of operations: called with arrays it computes them, called with
tensors (``create_graph=True``) it records them, so that gradients have gradients. A *fast* rule
does the same in one compiled call where nothing has to be recorded.

::

    w = Tensor(np.ones(3), requires_grad=True)
    y = ops.sum(ops.exp(w))
    (g,) = grad(y, [w], create_graph=True)
    (h,) = grad(ops.sum(g), [w])

A node holds arrays and the nodes before it, never tensors: there are no reference cycles, and the
memory of a step returns when its loss goes out of scope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _arrays, _core
from ._core import WeightGradient

__all__ = ["Op", "Tensor", "check_grads", "grad", "op"]


class Node:
    """One operation that was carried out, or (without an operation) a leaf."""

    __slots__ = ("inputs", "operation", "options", "outputs", "parents", "sums", "sweep", "waiting")

    def __init__(self, operation=None, inputs=(), options=None, outputs=None, parents=()):
        self.operation: Op | None = operation
        self.inputs: tuple = inputs  # arrays, or constants
        self.options: dict[str, Any] = options
        self.outputs: Any = outputs
        self.parents: tuple = parents  # (node, output index) of each input, or None
        # of the sweep that came by last
        self.sweep: object = None
        self.sums: list[Any] | None = None  # the gradient by each output, so far
        self.waiting = 0  # uses whose gradient is still to come


class Tensor:
    """An array on the tape.

    Parameters
    ----------
    data : array-like
        NumPy array, ``_core.GpuArray``, or anything with ``__dlpack__`` or ``__array__``; shared,
        not copied.
    requires_grad : bool, default=False
        Whether :func:`grad` may be asked for gradients by it.

    Attributes
    ----------
    data : ndarray or GpuArray
    """

    __array_priority__ = 1000  # array + tensor is ours, not an array of objects
    __slots__ = ("_source", "data")

    def __init__(self, data: Any, requires_grad: bool = False):
        self.data: Any = _as_array(data)
        self._source: tuple[Node, int] | None = (Node(), 0) if requires_grad else None

    @property
    def requires_grad(self) -> bool:
        return self._source is not None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    def __len__(self) -> int:
        return len(self.data)

    def detach(self) -> Tensor:
        """The same array, off the tape."""
        return Tensor(self.data)

    def item(self) -> float:
        return self.data.item()

    def numpy(self) -> np.ndarray:
        return _arrays.numpy(self.data)

    def __array__(self, dtype=None, copy=None):
        if copy is None:  # as needed; what NumPy 1 has no word for
            return np.asarray(self.data, dtype)
        return np.array(self.data, dtype, copy=copy)

    def __dlpack__(self, **options):
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def __reduce__(self):
        return type(self), (self.numpy(), self.requires_grad)

    def __repr__(self) -> str:
        kind = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({self.data!r}{kind})"

    # Arithmetic is attached by ops.py, where the operations are.


def _as_array(data: Any) -> Any:
    if isinstance(data, (np.ndarray, _core.GpuArray)):
        return data
    if isinstance(data, Tensor):
        return data.data
    if hasattr(data, "__dlpack__") and not hasattr(data, "__array_interface__"):
        return np.from_dlpack(data)
    array = np.asarray(data)
    if array.dtype == object:
        raise TypeError(f"data is a {type(data).__name__}, which is no array of numbers")
    return array


def _tensor(data: Any, source: tuple[Node, int] | None) -> Tensor:
    t = Tensor.__new__(Tensor)
    t.data, t._source = data, source
    return t


class Op:
    """A differentiable function; made by :func:`op`.

    Positional arguments may be tensors, arrays or None; options are keywords and never
    differentiated.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._rule: Callable[..., Any] | None = None
        self._fast: Callable[..., Any] | None = None
        self.adds_to: int | None = None

    def rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Sets ``rule(g, y, *inputs, **options)``: one gradient (or None) per input."""
        self._rule = rule
        return rule

    def fast(self, adds_to: int | None = None) -> Callable[[Callable[..., Any]], Any]:
        """Sets ``fast(g, needs, into, y, *inputs, **options)`` for arrays alone.

        ``needs`` tells by input whether its gradient is wanted. If `adds_to` names an input, a
        weight in panels, its gradient is returned as a ``_core.WeightGradient``: a sum that is
        computed when all uses of the weight have added to it. ``into`` is the one that another use
        began, to be added to and returned; or None.
        """

        def register(rule: Callable[..., Any]) -> Callable[..., Any]:
            self._fast, self.adds_to = rule, adds_to
            return rule

        return register

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        parents, recorded, wrapped = [], False, False
        arrays = []
        for x in inputs:
            if isinstance(x, Tensor):
                arrays.append(x.data)
                parents.append(x._source)
                wrapped = True
                recorded = recorded or x._source is not None
            else:
                arrays.append(x)
                parents.append(None)
        y = self.function(*arrays, **options)
        if not wrapped:
            return y
        node = Node(self, tuple(arrays), options, y, tuple(parents)) if recorded else None
        if isinstance(y, tuple):
            return tuple(_tensor(a, (node, i) if node else None) for i, a in enumerate(y))
        return _tensor(y, (node, 0) if node else None)

    def gradients(self, node: Node, g: Any, record: bool, into: Any) -> Sequence[Any]:
        """The gradients by the inputs of `node`, given those by its outputs."""
        if record:
            # The same arrays again, as tensors that know where they come from.
            y: Any
            if isinstance(node.outputs, tuple):
                y = tuple(_tensor(a, (node, i)) for i, a in enumerate(node.outputs))
            else:
                y = _tensor(node.outputs, (node, 0))
            inputs = tuple(
                x if p is None else _tensor(x, p)
                for x, p in zip(node.inputs, node.parents, strict=True)
            )
        else:
            y, inputs = node.outputs, node.inputs
            if self._fast is not None:
                needs = [p is not None for p in node.parents]
                return self._fast(g, needs, into, y, *inputs, **node.options)
        if self._rule is None:
            raise TypeError(f"{self.__name__} has no gradient")
        return self._rule(g, y, *inputs, **node.options)


def op(function: Callable[..., Any]) -> Op:
    """Makes a differentiable function of one that computes on arrays."""
    return Op(function)


def grad(
    y: Tensor,
    xs: Sequence[Tensor],
    g: Any = None,
    *,
    create_graph: bool = False,
    consumer: Any = None,
) -> list[Any]:
    """Gradients of ``sum(g * y)``.

    Parameters
    ----------
    y : Tensor
        Differentiated; of any shape.
    xs : sequence of Tensor
        By which; leaves or intermediate results, each with ``requires_grad``.
    g : array, optional
        Weights of the elements of y; ones by default.
    create_graph : bool, default=False
        Record the computation, so that the gradients can be differentiated again.
    consumer : callable, optional
        Called with (i, gradient by xs[i]) as soon as that gradient is complete, instead of keeping
        it: an array, or a ``_core.WeightGradient``, which it may take before it reaches memory.

    Returns
    -------
    list of ndarray (of Tensor with ``create_graph``)
        In the order of xs; zeros where y does not depend on x. None where a consumer took it.
    """
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor) or x._source is None:
            raise ValueError(f"xs[{i}] does not require a gradient")
    wanted: dict[tuple[int, int], list[int]] = {}
    for i, x in enumerate(xs):
        node, index = x._source  # type: ignore[misc]
        wanted.setdefault((id(node), index), []).append(i)
    found: list[Any] = [None] * len(xs)

    def take(i: int, value: Any) -> None:
        found[i] = _computed(value)

    if isinstance(y, Tensor) and y._source is not None:
        # a single number stays on the CPU: what is made of numbers alone costs a GPU nothing
        like = y.data if y.shape else np.empty((), y.dtype)
        start = _arrays.full(y.shape, 1.0, like) if g is None else g
        if create_graph:
            start = start if isinstance(start, Tensor) else Tensor(start)
        elif isinstance(start, Tensor):
            start = start.data
        _Sweep(wanted, consumer or take, create_graph).run(*y._source, start)
    if consumer is None:
        for i, x in enumerate(xs):
            if found[i] is None:
                zeros = _arrays.zeros(x.shape, x.data)
                found[i] = Tensor(zeros) if create_graph else zeros
    return found


class _Sweep:
    """One walk over the tape, from an output back to the leaves."""

    def __init__(self, wanted: dict[tuple[int, int], list[int]], consumer: Any, record: bool):
        self.wanted, self.consumer, self.record = wanted, consumer, record

    def run(self, root: Node, index: int, start: Any) -> None:
        self.count_uses(root)
        root.sums = _slots(root)
        root.sums[index] = start
        leaves: list[Node] = []
        others = [root]
        while leaves or others:
            # Leaves first: what is complete is handed on at once.
            node = leaves.pop() if leaves else others.pop()
            sums, node.sums = node.sums, None
            for index, value in enumerate(sums or ()):
                if value is not None:
                    for i in self.wanted.get((id(node), index), ()):
                        self.consumer(i, value)
            if node.operation is None:
                continue
            gradients: Sequence[Any] = ()
            if sums is not None:
                sums = [_computed(value) for value in sums]
                g = tuple(sums) if isinstance(node.outputs, tuple) else sums[0]
                gradients = node.operation.gradients(node, g, self.record, self.begun(node))
            for position, parent in enumerate(node.parents):
                if parent is None:
                    continue
                before, index = parent
                if gradients and gradients[position] is not None:
                    _add(before, index, gradients[position])
                before.waiting -= 1
                if before.waiting == 0:
                    (leaves if before.operation is None else others).append(before)

    @staticmethod
    def count_uses(root: Node) -> None:
        """Tells each node before `root` how often it is an input of one that leads there."""
        this = object()  # not the sweep itself: what consumes gradients holds leaves, a cycle
        root.sweep, root.sums, root.waiting = this, None, 0
        stack = [root]
        while stack:
            for parent in stack.pop().parents:
                if parent is not None:
                    node = parent[0]
                    if node.sweep is not this:
                        node.sweep, node.sums, node.waiting = this, None, 0
                        stack.append(node)
                    node.waiting += 1

    def begun(self, node: Node) -> Any:
        """The sum that the fast rule of `node` is to add to; see :meth:`Op.fast`."""
        position = node.operation.adds_to if node.operation else None
        parent = None if position is None else node.parents[position]
        if parent is None or self.record or parent[0].sums is None:
            return None
        value = parent[0].sums[parent[1]]
        return value if isinstance(value, WeightGradient) else None


def _add(node: Node, index: int, g: Any) -> None:
    """Adds a gradient to those that other uses of the same output gave."""
    if node.sums is None:
        node.sums = _slots(node)
    known = node.sums[index]
    if known is None:
        node.sums[index] = g
    elif isinstance(known, WeightGradient):
        if g is not known:
            known.add(_arrays.contiguous(g))
    elif isinstance(g, WeightGradient):
        g.add(_arrays.contiguous(known))
        node.sums[index] = g
    else:
        node.sums[index] = known + g


def _computed(g: Any) -> Any:
    return g.array() if isinstance(g, WeightGradient) else g


def _slots(node: Node) -> list[Any]:
    return [None] * (len(node.outputs) if isinstance(node.outputs, tuple) else 1)


def check_grads(
    function: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    *,
    order: int = 2,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    rng: np.random.Generator | None = None,
) -> None:
    """Compares gradients with central differences along random directions.

    Parameters
    ----------
    function : callable
        Of tensors, returning a tensor or a tuple of them.
    inputs : sequence of ndarray
        Float64 points at which the function is smooth.
    order : int, default=2
        Highest order of differentiation to check.
    step : float, default=1e-5
        Of the differences; their error is of order step^2.
    tolerance : float, default=1e-6
        Largest difference allowed, relative to 1 + the magnitudes compared.
    rng : Generator, optional

    Raises
    ------
    AssertionError
        With the order and the input that is off; also where the fast rule (arrays alone) and the
        rule written with operations disagree.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    points = [np.array(x, np.float64) for x in inputs]

    def outputs(*xs: Any) -> tuple[Any, ...]:
        y = function(*xs)
        return y if isinstance(y, tuple) else (y,)

    weights = [rng.standard_normal(y.shape) for y in outputs(*map(Tensor, points))]

    def scalar(*xs: Any) -> Any:
        return _weighted_sum(outputs(*xs), weights)

    def value(xs: Sequence[np.ndarray]) -> float:
        return float(scalar(*map(Tensor, xs)).data)

    leaves = [Tensor(x, requires_grad=True) for x in points]
    fast = grad(scalar(*leaves), leaves)
    slow = grad(scalar(*leaves), leaves, create_graph=True)
    for i, (a, b) in enumerate(zip(fast, slow, strict=True)):
        _close(np.asarray(a), b.data, 1e-9, f"input {i}: fast and composed rules")
    direction = [rng.standard_normal(x.shape) for x in points]
    for i, d in enumerate(direction):
        moved = [
            value([x + s * step * d if j == i else x for j, x in enumerate(points)])
            for s in (1, -1)
        ]
        difference = (moved[0] - moved[1]) / (2 * step)
        _close(np.sum(fast[i] * d), difference, tolerance, f"order 1, input {i}")
    if order < 2:
        return

    def slope(*xs: Any) -> Any:
        xs = tuple(x if x.requires_grad else Tensor(x.data, True) for x in xs)
        return _weighted_sum(grad(scalar(*xs), xs, create_graph=True), direction)

    try:
        check_grads(slope, points, order=order - 1, step=step, tolerance=tolerance * 10, rng=rng)
    except AssertionError as error:
        raise AssertionError(f"order {order}: {error}") from None


def _weighted_sum(ys: Sequence[Any], weights: Sequence[np.ndarray]) -> Any:
    from . import ops  # which imports this module

    total: Any = Tensor(np.float64(0))
    for y, w in zip(ys, weights, strict=True):
        total = ops.add(total, ops.sum(ops.mul(y, w)))
    return total


def _close(a: Any, b: Any, tolerance: float, what: str) -> None:
    error = np.max(np.abs(a - b) / (1 + np.abs(a) + np.abs(b)), initial=0.0)
    if not error <= tolerance:
        raise AssertionError(f"{what}: {np.asarray(a)} and {np.asarray(b)} differ by {error:.3g}")
