"""Gradient descent: rules that step many tensors in one compiled pass; methods that search along
lines on each mini-batch; and learning-rate schedules.

An optimiser owns its moments, one pair of arrays per parameter, and no parameters: it is given
them, with their gradients, at every step.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import _arrays, _core

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "ConjugateGradient",
    "Cosine",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Schedule",
    "StepDecay",
    "make_optimizer",
]


class Optimizer:
    """Steps parameters along their gradients; see the subclasses.

    Parameters
    ----------
    weight_decay : float, default=0.0
        Added to the gradient as ``weight_decay * p`` (:class:`AdamW`: taken from the parameters).
    """

    rule = "sgd"
    beta1, beta2, eps, nesterov = 0.0, 0.0, 0.0, False
    _moments: tuple[str, ...] = ()

    def __init__(self, weight_decay: float = 0.0):
        self.weight_decay = weight_decay
        self.step_count = 0
        self.state: dict[int, dict[str, Any]] = {}
        self._tensors: dict[int, tuple[Any, ...]] = {}

    def tensor(self, index: int, p: Any, decayed: bool) -> tuple[Any, ...]:
        """What a compiled step changes: (p, m, v, decay); moments are zeros at first."""
        known = self._tensors.get(index)
        if known is None or known[0] is not p:
            own = self.state.setdefault(index, {})
            for name in self._moments:
                if name not in own:
                    own[name] = _arrays.zeros(p.shape, p)
            decay = self.weight_decay if decayed else 0.0
            known = self._tensors[index] = (p, own.get("m"), own.get("v"), decay)
        return known

    def begin(
        self,
        parameters: Sequence[Any],
        rate: float,
        scale: Any = 1.0,
        limit: float = 0.0,
        live: Any = None,
        flag: Any = None,
    ) -> Descent:
        """Begin a step.

        Parameters
        ----------
        parameters : sequence of Parameter
            The same at every step.
        rate : float
            Learning rate.
        scale : float or GpuArray
        limit : float
            Gradients are multiplied by scale, then cut to [-limit, limit] (0: not cut).
        live : GpuArray, optional
            Three float64 (as int64): the rate, and that and 1 over the corrections of the moments
            (see :meth:`live_numbers`), read when the step is done.
        flag : GpuArray, optional
            An int32, set to 1 where a parameter is no longer finite.

        Returns
        -------
        Descent
            Takes the gradients; also a consumer for :func:`unsupfast.autograd.grad`.
        """
        self.step_count += 1
        factor = scale if _arrays.is_gpu(scale) else None
        step = _core.Step(
            self.rule, rate, self.beta1, self.beta2, self.eps, self.step_count,
            1.0 if factor is not None else float(scale), limit, self.nesterov, live, factor, flag,
        )  # fmt: skip
        return Descent(self, parameters, step, flag is None)

    def live_numbers(self, rate: float, steps: np.ndarray) -> np.ndarray:
        """What `live` of :meth:`begin` holds in steps of these numbers (from 1): a row a step."""
        c1, c2 = 1 - self.beta1**steps, 1 - self.beta2**steps
        return np.stack([np.full(len(steps), rate), rate / c1, 1 / c2], axis=1)

    def move(self, gpu: int) -> None:
        """Puts the moments on a GPU, or (-1) on the CPU."""
        self._tensors = {}
        for own in self.state.values():
            for name, a in own.items():
                own[name] = _arrays.put(a, gpu)

    def get_state(self) -> dict[str, Any]:
        """Every moment, by name; with :attr:`step_count`, all that a resumption needs."""
        return {f"{i}.{name}": a for i, own in self.state.items() for name, a in own.items()}

    def set_state(self, tensors: dict[str, Any], step_count: int) -> None:
        self.state, self._tensors = {}, {}
        for key, array in tensors.items():
            index, name = key.split(".")
            self.state.setdefault(int(index), {})[name] = _arrays.copy(array)
        self.step_count = step_count


class Descent:
    """One step under way: takes gradients as they become complete.

    A weight is stepped along a sum that is not computed yet while that is computed: the gradient
    never reaches memory.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Any], step: Any, watched: bool):
        self._optimizer, self._parameters, self._step = optimizer, parameters, step
        self._watched = watched
        self._waiting: list[tuple[Any, Any]] = []

    def _tensor(self, index: int) -> tuple[Any, ...]:
        p = self._parameters[index]
        return self._optimizer.tensor(index, p.data, p.decayed)

    def __call__(self, index: int, gradient: Any) -> None:
        if isinstance(gradient, _core.WeightGradient):
            self._step.descend(self._tensor(index), gradient)
        else:
            self._waiting.append((self._tensor(index), _arrays.contiguous(gradient)))

    def finish(self) -> bool:
        """Steps along what is left; False if a parameter is no longer finite, which it does not
        look at where a flag is told."""
        self._step.apply(self._waiting)
        self._waiting = []
        return not self._watched or self._step.finite


def clip_factor(gradients: Sequence[Any], norm: float) -> Any:
    """What makes the norm of all gradients together at most `norm`: at most 1, where they lie."""
    total: Any = 0.0
    for g in gradients:
        total = _core.add(_core.sum(_core.square(g)), total)
    return _core.minimum(_core.div(norm, _core.sqrt(total)), 1.0)


class SGD(Optimizer):
    """Gradient descent, with classical or Nesterov momentum.

    Parameters
    ----------
    momentum : float, default=0.0
        In [0, 1).
    nesterov : bool, default=False
    weight_decay : float, default=0.0
    """

    def __init__(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0):
        super().__init__(weight_decay)
        self.beta1, self.nesterov = momentum, nesterov
        if momentum:
            self.rule, self._moments = "momentum", ("m",)


class RMSProp(Optimizer):
    """Gradients divided by a running root mean square (Tieleman and Hinton, 2012).

    Parameters
    ----------
    decay : float, default=0.99
        Of the running mean of squares.
    eps : float, default=1e-8
    weight_decay : float, default=0.0
    """

    rule, _moments = "rmsprop", ("v",)

    def __init__(self, decay: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0):
        super().__init__(weight_decay)
        self.beta2, self.eps = decay, eps


class Adam(Optimizer):
    """Adam (D. Kingma, J. Ba. "Adam: a method for stochastic optimization". ICLR 2015).

    Parameters
    ----------
    beta1, beta2 : float, default=0.9, 0.999
        Decay of the running means of gradients and of their squares.
    eps : float, default=1e-8
    weight_decay : float, default=0.0
    """

    rule, _moments = "adam", ("m", "v")

    def __init__(
        self,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(weight_decay)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps


class AdamW(Adam):
    """Adam with decoupled weight decay (I. Loshchilov, F. Hutter, ICLR 2019)."""

    rule = "adamw"


@dataclass(frozen=True)
class LineSearches:
    """A few iterations of a method that searches along lines, on the loss of one mini-batch.

    Nothing is carried from one mini-batch to the next. The mini-batches must be large enough for
    their loss to stand for that of the data; there is no learning rate.
    """

    iterations: int = 3
    method: ClassVar[str]

    def __post_init__(self) -> None:
        n = self.iterations
        if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
            raise ValueError(
                f"{type(self).__name__}.iterations is {n!r}; expected a positive integer"
            )


class ConjugateGradient(LineSearches):
    """Nonlinear conjugate gradients (Polak and Ribiere), by :func:`scipy.optimize.minimize`.

    Parameters
    ----------
    iterations : int, default=3
        Line searches on each mini-batch; each is a few evaluations of loss and gradient. Three on
        mini-batches of 1000 fine-tuned the deep auto-encoders of [1]_.

    References
    ----------
    .. [1] G. Hinton, R. Salakhutdinov. "Reducing the dimensionality of data with neural networks".
           Science 313, 2006.
    """

    method = "CG"


class LBFGS(LineSearches):
    """Limited-memory BFGS, by :func:`scipy.optimize.minimize` [1]_ [2]_.

    Parameters
    ----------
    iterations : int, default=3
        On each mini-batch.

    References
    ----------
    .. [1] R. Byrd, P. Lu, J. Nocedal, C. Zhu. "A limited memory algorithm for bound constrained
           optimization". SIAM J. Sci. Comput. 16, 1995.
    .. [2] Q. Le et al. "On optimization methods for deep learning". ICML 2011.
    """

    method = "L-BFGS-B"


class Minimizer(Optimizer):
    """Steps parameters to where :class:`LineSearches` find the loss of a mini-batch lowest."""

    def __init__(self, searches: LineSearches, weight_decay: float = 0.0):
        super().__init__(weight_decay)
        self.searches = searches

    def minimize(
        self, parameters: Sequence[Any], evaluate: Callable[[], tuple[float, Sequence[Any]]]
    ) -> bool:
        """Moves the parameters; False if the loss or a parameter is not finite.

        Parameters
        ----------
        parameters : sequence of Parameter
        evaluate : callable
            Loss and gradients at the parameters' present values; without noise of its own. Half of
            ``weight_decay`` times their square is added for those that decay.
        """
        from scipy.optimize import minimize

        self.step_count += 1
        ends = np.cumsum([0] + [p.data.size for p in parameters])
        decay = [self.weight_decay if p.decayed else 0.0 for p in parameters]

        def place(flat: np.ndarray) -> None:
            for p, i, j in zip(parameters, ends[:-1], ends[1:], strict=True):
                _arrays.assign(p.data, flat[i:j].reshape(p.data.shape))

        def join(arrays: Sequence[Any]) -> np.ndarray:
            return np.concatenate([np.ravel(_arrays.numpy(a)) for a in arrays]).astype(np.float64)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            place(flat)
            value, gradients = evaluate()
            flat_gradient = join(gradients)
            for rate, i, j in zip(decay, ends[:-1], ends[1:], strict=True):
                if rate:
                    value += 0.5 * rate * float(np.vdot(flat[i:j], flat[i:j]))
                    flat_gradient[i:j] += rate * flat[i:j]
            return value, flat_gradient

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a search that ends early leaves the best point so far
            found = minimize(
                objective,
                join([p.data for p in parameters]),
                jac=True,
                method=self.searches.method,
                options={"maxiter": int(self.searches.iterations)},
            )
            place(found.x)
        finite = math.isfinite(float(found.fun)) and bool(np.isfinite(found.x).all())
        return finite and all(bool(np.isfinite(p.numpy()).all()) for p in parameters)


_METHODS: dict[str, type[LineSearches]] = {"cg": ConjugateGradient, "lbfgs": LBFGS}


def make_optimizer(name: Any, *, momentum: float = 0.9, weight_decay: float = 0.0) -> Optimizer:
    """The optimiser of a name: "sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "cg" or
    "lbfgs"; or of a :class:`ConjugateGradient` or :class:`LBFGS`."""
    if type(name) in _METHODS.values():
        return Minimizer(name, weight_decay)
    if isinstance(name, str):
        if name in _METHODS:
            return Minimizer(_METHODS[name](), weight_decay)
        if name == "sgd":
            return SGD(weight_decay=weight_decay)
        if name in ("momentum", "nesterov"):
            return SGD(momentum, name == "nesterov", weight_decay)
        if name == "rmsprop":
            return RMSProp(weight_decay=weight_decay)
        if name == "adam":
            return Adam(weight_decay=weight_decay)
        if name == "adamw":
            return AdamW(weight_decay=weight_decay)
    raise ValueError(
        f"optimizer is {name!r}; expected 'sgd', 'momentum', 'nesterov', 'rmsprop', 'adam', "
        "'adamw', 'cg', 'lbfgs', or a ConjugateGradient or LBFGS"
    )


# ---------------------------------------------------------------------------------------- schedules


@dataclass(frozen=True)
class Schedule:
    """A learning rate by epoch; subclasses say how. A function of what is known, so a resumed run
    follows it as an uninterrupted one does.

    Parameters
    ----------
    base : float
        Learning rate to begin with.
    warmup : int, default=0
        Epochs over which it rises linearly to its scheduled value.
    """

    base: float
    warmup: int = 0

    def rate(self, epoch: int, history: Mapping[str, Sequence[float]]) -> float:
        """The rate of an epoch (from 0), given the history before it."""
        ramp = min(1.0, (epoch + 1) / (self.warmup + 1)) if self.warmup else 1.0
        return ramp * self.base * self.factor(epoch, history)

    def factor(self, epoch: int, history: Mapping[str, Sequence[float]]) -> float:
        return 1.0


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplied by ``gamma`` every ``every`` epochs."""

    every: int = 10
    gamma: float = 0.1

    def factor(self, epoch: int, history: Mapping[str, Sequence[float]]) -> float:
        return self.gamma ** (epoch // self.every)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from ``base`` down to ``base * final`` over ``epochs`` epochs.

    I. Loshchilov, F. Hutter. "SGDR: stochastic gradient descent with warm restarts". ICLR 2017.
    """

    epochs: int = 100
    final: float = 0.0

    def factor(self, epoch: int, history: Mapping[str, Sequence[float]]) -> float:
        share = min(1.0, epoch / max(1, self.epochs))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Plateau(Schedule):
    """Multiplied by ``gamma`` whenever ``metric`` (smaller is better) has not fallen for
    ``patience`` epochs."""

    metric: str = "loss"
    patience: int = 5
    gamma: float = 0.5

    def factor(self, epoch: int, history: Mapping[str, Sequence[float]]) -> float:
        factor, best, waited = 1.0, math.inf, 0
        for value in history.get(self.metric, ()):
            best, waited = (value, 0) if value < best else (best, waited + 1)
            if waited >= self.patience:
                factor, waited = factor * self.gamma, 0
        return factor
