"""scikit-learn's BernoulliRBM: its interface, and for the same random_state its weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..io import register_model
from ._rbm_core import concatenated, seed_from
from .rbm import RBM

__all__ = ["BernoulliRBM"]

_KEY_WORDS = 624  # of the state of NumPy's Mersenne Twister
_STREAMS = {"rng": "_rng", "random_state": "random_state_"}  # name in a file: attribute


class BernoulliRBM(RBM):
    """Drop-in for :class:`sklearn.neural_network.BernoulliRBM`.

    Changing ``from sklearn.neural_network import BernoulliRBM`` to
    ``from unsupfast import BernoulliRBM`` is the whole port. Random numbers are taken from the
    RandomState in scikit-learn's order, so that the same ``random_state`` gives scikit-learn's
    weights, Gibbs steps and scores, up to rounding. A draw within rounding of its probability can
    fall the other way, after which the runs differ as two seeds do: in float32 that is one draw in
    tens of millions, in float64 next to none.
    All methods of :class:`RBM` are there too; its other parameters are attributes here, at their
    defaults (but ``shuffle``, which is False) until they are set.

    Trained by persistent contrastive divergence over the rows in their order. As in scikit-learn, a
    chain weighs as much as a row of the data: in a short last mini-batch the chains together weigh
    more than the rows do.

    Parameters
    ----------
    n_components, learning_rate, batch_size, n_iter, verbose, random_state
        As for :class:`RBM`.

    Notes
    -----
    ``partial_fit`` of float32 computes in float32, where scikit-learn turns to float64. A file
    holds the state of the random numbers if they come from NumPy's Mersenne Twister, as those of an
    integer ``random_state`` do; ``resume`` refuses a file without.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> uf.BernoulliRBM(n_components=2, random_state=0).fit(X)
    BernoulliRBM(n_components=2, random_state=0)
    """

    _rng: np.random.RandomState | None  # what training draws from

    _may_miss = False
    _only_cpu = "BernoulliRBM, which draws its numbers from NumPy,"

    def __init__(
        self,
        n_components=256,
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            n_components,
            learning_rate=learning_rate,
            batch_size=batch_size,
            n_iter=n_iter,
            verbose=verbose,
            random_state=random_state,
            shuffle=False,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("visible", "hidden"):
            value = getattr(self, name)
            if value != "bernoulli":
                raise ValueError(f"{name} is {value!r}; expected 'bernoulli', or the class RBM")

    # ------------------------------------------------------------------ random numbers

    def _start_draws(self, rng: np.random.RandomState) -> None:
        self._rng = rng
        self._seed = seed_from(copy.deepcopy(rng))  # which leaves rng where it is

    def _uniforms(self) -> Any:
        assert self._rng is not None
        return self._rng.random_sample

    def _options(self, epoch: int, batch_size: int) -> Any:
        options = super()._options(epoch, batch_size)
        options.balanced = False
        return options

    def partial_fit(self, X, y=None, row_weight=None):
        if hasattr(self, "components_"):
            if not hasattr(self, "random_state_"):
                self.random_state_ = check_random_state(self.random_state)
            self._rng = self.random_state_
        return super().partial_fit(X, y, row_weight)

    partial_fit.__doc__ = RBM.partial_fit.__doc__

    def _sample_hiddens(self, v, rng):
        p = self._mean_hiddens(v)
        return rng.random_sample(p.shape) < p

    def _sample_visibles(self, h, rng, totals=None):
        p = self._mean_visibles(h)
        return rng.random_sample(p.shape) < p

    def _pseudo_likelihood(self, v, rng) -> np.ndarray:
        feature = rng.randint(0, v.shape[1], v.shape[0])
        return concatenated(
            np.arange(v.shape[0]),
            lambda rows: self._flip_likelihood(v[rows[0] : rows[-1] + 1], feature[rows]),
        )

    # scikit-learn scores all rows for the line it prints, with draws from the same RandomState
    def _monitored_rows(self, X, rows):
        if self.verbose and len(rows) == X.shape[0]:
            return X
        return super()._monitored_rows(X, rows)

    def _monitored_likelihood(self, X) -> float:
        if not self.verbose:
            return super()._monitored_likelihood(X)
        seeded = self.random_state is not None and not isinstance(
            self.random_state, np.random.RandomState
        )
        rng = check_random_state(self.random_state) if seeded else self._rng
        return float(self._pseudo_likelihood(X, rng).mean())

    # ------------------------------------------------------------------ files

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors, meta = super()._get_state()
        for name, attribute in _STREAMS.items():
            rng = getattr(self, attribute, None)
            state = {} if rng is None else rng.get_state(legacy=False)
            if state.get("bit_generator") == "MT19937":
                tensors[f"{name}.key"] = np.asarray(state["state"]["key"], np.uint32)
                meta[name] = {
                    "pos": int(state["state"]["pos"]),
                    "has_gauss": int(state["has_gauss"]),
                    "gauss": float(state["gauss"]),
                }
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        super()._set_state(tensors, meta)
        self._rng = None
        for name, attribute in _STREAMS.items():
            if name in meta:
                setattr(self, attribute, _random_state(tensors[f"{name}.key"], meta[name]))

    def _resume(self, path, n_features: int, dtype) -> None:
        super()._resume(path, n_features, dtype)
        if self._rng is None:
            raise ValueError(
                f"resume: {path} holds no state of NumPy's Mersenne Twister; expected a checkpoint "
                "of a BernoulliRBM that drew from one"
            )


def _random_state(key: np.ndarray, rest: dict[str, Any]) -> np.random.RandomState:
    """A Mersenne Twister in the given state, checked: NumPy would read beyond a wrong one."""
    pos = int(rest["pos"])
    if key.shape != (_KEY_WORDS,) or key.dtype != np.uint32 or not 0 <= pos <= _KEY_WORDS:
        raise ValueError(
            f"a random state of the file is {key.shape} {key.dtype} at {pos}; expected "
            f"({_KEY_WORDS},) uint32 at 0 to {_KEY_WORDS}"
        )
    rng = np.random.RandomState(0)
    rng.set_state(("MT19937", key, pos, int(bool(rest["has_gauss"])), float(rest["gauss"])))
    return rng


register_model(BernoulliRBM)
