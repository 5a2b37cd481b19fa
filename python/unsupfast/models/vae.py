"""Variational auto-encoders with diagonal-Gaussian codes."""

from __future__ import annotations

import itertools
import math
import numbers
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import _arrays, _core, nn, ops
from ..autograd import Tensor
from ..io import register_model
from ..training import schedule_value
from ._arguments import check_integer, check_option, check_real, check_widths
from ._coder import Coder
from ._device import Draw
from ._rbm_core import seed_from

__all__ = ["VAE"]

_KINDS = {
    "bernoulli": "bernoulli",
    "gaussian": "squared",
    "continuous_bernoulli": "continuous_bernoulli",
}
# The probabilities that output biases may start from.
_LEAST, _MOST = 0.001, 0.999
# Streams of random numbers, beside those of corruption.
_TRAIN, _EVALUATE = 1, 2
_BOUND_DRAWS = 4


class VAENetwork(nn.Module):
    """An encoder that ends in means and log variances, and a decoder that mirrors it."""

    def __init__(self, n_features, hidden, latent_dim, activation, rng, dtype, bf16):
        def stack(widths: list[int]) -> list[nn.Module]:
            return [
                nn.Dense(a, b, activation, rng=rng, dtype=dtype, bf16=bf16)
                for a, b in itertools.pairwise(widths)
            ]

        def linear(a: int, b: int) -> nn.Dense:
            return nn.Dense(a, b, rng=rng, dtype=dtype, bf16=bf16)

        widths = [n_features, *hidden]
        self.encoder = nn.Sequential([*stack(widths), linear(widths[-1], 2 * latent_dim)])
        back = [latent_dim, *reversed(hidden)]
        self.decoder = nn.Sequential([*stack(back), linear(back[-1], n_features)])


class VAE(Coder):
    """Variational auto-encoder [1]_, with importance-weighted training [2]_.

    Maximises the evidence lower bound: the mean log-likelihood of a sample given a code drawn for
    it, minus ``beta`` times the divergence of the codes' distribution from the standard normal.
    Everything is in nats per sample, summed over dimensions. The biases of the outputs begin at the
    means of the features [2]_ (of a stream: of its first block).

    Parameters
    ----------
    hidden : int or sequence of int, default=(512,)
        Widths of the encoder's hidden layers; the decoder mirrors them.
    latent_dim : int, default=2
    activation : str, default="relu"
        Of hidden layers: "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu" or "softplus".
    likelihood : {"bernoulli", "gaussian", "continuous_bernoulli"}, default="bernoulli"
        "bernoulli" and "continuous_bernoulli" [3]_ need data in [0, 1].
    sigma : float, default=1.0
        Standard deviation of the Gaussian likelihood.
    beta : float, default=1.0
        Weight of the divergence.
    kl_schedule : callable, sequence of float or None, default=None
        Factor on ``beta`` by epoch (a callable is given the epoch from 0), to anneal it.
    free_bits : float, default=0.0
        Nats of each latent dimension, averaged over the mini-batch, that cost nothing [4]_.
    n_importance : int, default=1
        Samples of the code per row in training; above 1 the importance-weighted bound is maximised,
        with ``beta`` 1 and without free bits.
    optimizer, learning_rate, momentum, weight_decay, batch_size, n_iter, shuffle, clip_norm,\
 clip_value, ema, validation_fraction, patience, callbacks, checkpoint, checkpoint_every, resume,\
 precision, device, verbose, random_state
        As for :class:`unsupfast.Autoencoder`, but for optimisers that search along lines: the loss
        is a random one.

    Attributes
    ----------
    network_ : Module
        ``network_.encoder`` and ``network_.decoder``.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``loss`` (what is minimised),
        ``reconstruction`` and ``kl`` (the two parts of the bound) or ``bound``,
        ``learning_rate``, ``validation_loss`` (minus the bound).
    n_iter_ : int
    n_features_in_ : int

    References
    ----------
    .. [1] D. Kingma, M. Welling. "Auto-encoding variational Bayes". ICLR 2014.
    .. [2] Y. Burda, R. Grosse, R. Salakhutdinov. "Importance weighted autoencoders". ICLR 2016.
    .. [3] G. Loaiza-Ganem, J. Cunningham. "The continuous Bernoulli: fixing a pervasive error in
           variational autoencoders". NeurIPS 2019.
    .. [4] D. Kingma et al. "Improved variational inference with inverse autoregressive flow".
           NeurIPS 2016.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).random((100, 8), dtype=np.float32)
    >>> model = uf.VAE((16,), latent_dim=2, n_iter=2, random_state=0).fit(X)
    >>> model.transform(X).shape, model.sample(3).shape
    ((100, 2), (3, 8))
    """

    _noisy_loss = True

    def __init__(
        self,
        hidden=(512,),
        latent_dim=2,
        *,
        activation="relu",
        likelihood="bernoulli",
        sigma=1.0,
        beta=1.0,
        kl_schedule=None,
        free_bits=0.0,
        n_importance=1,
        optimizer="adam",
        learning_rate=0.001,
        momentum=0.9,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        shuffle=True,
        clip_norm=None,
        clip_value=None,
        ema=None,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.hidden = hidden
        self.latent_dim = latent_dim
        self.activation = activation
        self.likelihood = likelihood
        self.sigma = sigma
        self.beta = beta
        self.kl_schedule = kl_schedule
        self.free_bits = free_bits
        self.n_importance = n_importance
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.ema = ema
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.precision = precision
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ the model

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_widths("hidden", self.hidden)
        check_integer(self, "latent_dim", 1)
        check_integer(self, "n_importance", 1)
        check_option(self, "likelihood", tuple(_KINDS))
        check_real(self, "sigma", 0, above=True)
        for name in ("beta", "free_bits"):
            check_real(self, name, 0)
        if self.n_importance > 1 and (
            self.beta != 1 or self.free_bits or self.kl_schedule is not None
        ):
            raise ValueError(
                f"n_importance is {self.n_importance}: the importance-weighted bound has no "
                "separate divergence; expected beta=1, free_bits=0 and kl_schedule=None"
            )
        for epoch in range(max(1, min(self.n_iter, 1000))):
            self._beta(epoch)

    def _beta(self, epoch: int) -> float:
        if self.kl_schedule is None:
            return float(self.beta)
        factor = schedule_value(self.kl_schedule, epoch, "kl_schedule")
        if factor < 0:
            raise ValueError(f"kl_schedule is {factor} in epoch {epoch}; expected at least 0")
        return self.beta * factor

    def _check_values(self, X: Any) -> None:
        values = X.data if sp.issparse(X) else X
        if self.likelihood != "gaussian" and values.size:
            low, high = values.min(), values.max()
            if low < 0 or high > 1:
                raise ValueError(
                    f"likelihood={self.likelihood!r} needs data in [0, 1]; X has values from "
                    f"{low:g} to {high:g}"
                )

    def _settings(self) -> dict[str, Any]:
        return {"_n_features_out": self._n_features_out}

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        self._n_features_out = int(self.latent_dim)
        hidden = check_widths("hidden", self.hidden)
        return VAENetwork(
            n_features, hidden, int(self.latent_dim), self.activation, rng, dtype, self._bf16
        )

    def _initialise(self, X: Any, rng: np.random.RandomState) -> None:
        """Starts the outputs at the means, which would else be the first thing to be learned."""
        super()._initialise(X, rng)
        n = X.shape[0]
        total = np.asarray(X.sum(axis=0, dtype=np.float64)).reshape(-1)
        if self.likelihood == "gaussian":
            start = total / n
        else:
            start = special.logit(np.clip((total + 0.5) / (n + 1), _LEAST, _MOST))
        self.network_.decoder.layers[-1].bias.data[...] = start

    def _constants(self) -> tuple[Any, ...]:
        return (self._beta(self.n_iter_),)

    @property
    def _kind(self) -> str:
        return _KINDS[self.likelihood]

    def _scale(self) -> float:
        """Nats per unit of the compiled loss."""
        return 0.5 / self.sigma**2 if self.likelihood == "gaussian" else 1.0

    def _offset(self, n_features: int) -> float:
        """The part of the negative log-likelihood that does not depend on anything."""
        if self.likelihood != "gaussian":
            return 0.0
        return 0.5 * n_features * math.log(2 * math.pi * self.sigma**2)

    def _loss(self, x, noisy, y, draw):
        if self.n_importance > 1:
            return self._importance_loss(x, draw)
        network, m = self.network_, len(x)
        z, _, kl = ops.latent(network.encoder(noisy), **draw.names(_TRAIN))
        reconstruction = ops.loss(network.decoder(z), x, kind=self._kind, scale=self._scale())
        divergence = ops.mul(ops.sum(kl), 1 / m)
        offset = self._offset(x.shape[1])
        extras = {
            "reconstruction": _core.add(reconstruction.data, offset)
            if offset
            else reconstruction.data,
            "kl": divergence.data,
        }
        cost = divergence
        if self.free_bits:
            by_dimension = ops.mul(ops.sum(kl, axis=0), 1 / m)
            cost = ops.sum(ops.maximum(by_dimension, float(self.free_bits)))
        beta = self._beta(self.n_iter_)
        total = ops.add(reconstruction, cost if beta == 1 else ops.mul(cost, beta))
        return total, extras

    def _log_weights(self, network: Any, x: Any, samples: int, draw: dict[str, Any]) -> Any:
        """log p(x, z) - log q(z | x) of codes drawn for each row, (m, samples)."""
        head = network.encoder(x)
        z, eps, _ = ops.latent(head, samples=samples, **draw)
        losses = ops.row_losses(network.decoder(z), x, kind=self._kind, repeat=samples)
        m, d = len(x), int(self.latent_dim)
        log_variance = ops.columns(head, start=d, stop=2 * d)
        # log p(z) - log q(z | x) = (|eps|^2 - |z|^2 + sum of log variances) / 2
        noise = _core.sum(_core.square(eps.data), 1)
        ratio = ops.mul(ops.sub(noise, ops.sum(ops.mul(z, z), axis=1)), 0.5)
        weights = ops.reshape(ops.sub(ratio, ops.mul(losses, self._scale())), shape=(m, samples))
        shift = ops.mul(ops.sum(log_variance, axis=1), 0.5)
        return ops.add(weights, ops.reshape(shift, shape=(m, 1)))

    def _importance_loss(self, x, draw):
        """Minus the importance-weighted bound."""
        k = int(self.n_importance)
        weights = self._log_weights(self.network_, x, k, draw.names(_TRAIN))
        top = _core.max(weights.data, 1, True)
        bound = ops.log(ops.mul(ops.sum(ops.exp(ops.sub(weights, top)), axis=1), 1 / k))
        loss = ops.neg(ops.mean(ops.add(bound, top[:, 0])))
        return loss, {"bound": _core.sub(-self._offset(x.shape[1]), loss.data)}

    def _validation_loss(self, X, y) -> float:
        return -float(np.mean(self._bound(X), dtype=np.float64))

    def _bound(self, X) -> np.ndarray:
        """The evidence lower bound of each row, over draws of the noise that all rows share: what
        a row scores does not depend on the rows beside it."""
        d = self._n_features_out
        noise = np.random.default_rng([self._seed, 3]).standard_normal((_BOUND_DRAWS, d))

        def bound(network: Any, rows: Any) -> Any:
            head = network.encoder(rows).data
            kl = _core.sum(_core.latent(head)[2], 1)
            sigma = _core.exp(_core.mul(head[:, None, d:], 0.5))
            eps = _arrays.put(noise.astype(head.dtype), _arrays.gpu_of(head))
            z = _core.add(head[:, None, :d], _core.mul(sigma, eps[None]))
            logits = network.decoder(z.reshape(len(rows) * _BOUND_DRAWS, d))
            losses = ops.row_losses(logits, rows, kind=self._kind, repeat=_BOUND_DRAWS).data
            mean = _core.mean(losses.reshape(len(rows), _BOUND_DRAWS), 1)
            cost = _core.add(_core.mul(mean, self._scale()), kl)
            return _core.sub(-self._offset(rows.shape[1]), cost)

        return self._by_chunks(X, bound)

    # ------------------------------------------------------------------ faces

    def encode(self, X):
        """The posterior of the codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        mean, sigma : ndarray of shape (n_samples, latent_dim)
        """
        check_is_fitted(self)
        head = self._by_chunks(
            self._validate(X, reset=False), lambda network, rows: network.encoder(rows)
        )
        d = self._n_features_out
        return np.ascontiguousarray(head[:, :d]), np.exp(0.5 * head[:, d:])

    def transform(self, X):
        """Means of the codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        mean : ndarray of shape (n_samples, latent_dim)
        """
        return self.encode(X)[0]

    def _decode(self, network: Any, z: Any) -> Any:
        out = network.decoder(z)
        out = out.data if isinstance(out, Tensor) else out
        if self.likelihood == "gaussian":
            return out
        if self.likelihood == "bernoulli":
            return _core.sigmoid(out)
        # the mean of the continuous Bernoulli is the derivative of its log-normaliser
        zeros = _arrays.zeros(out.shape, out)
        return _core.likelihood(out, zeros, self._kind)[1]

    def sample(self, n_samples=1, *, random_state=None):
        """Means of the likelihood given codes drawn from the standard normal.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        if not isinstance(n_samples, numbers.Integral) or n_samples < 0:
            raise ValueError(f"n_samples is {n_samples!r}; expected a non-negative integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(seed_from(rng))
        return self.inverse_transform(generator.standard_normal((n_samples, self._n_features_out)))

    def score_samples(self, X):
        """The evidence lower bound of each row, over four codes drawn for it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        bound : ndarray of shape (n_samples,)
            Nats.
        """
        check_is_fitted(self)
        return self._bound(self._validate(X, reset=False))

    def log_likelihood(self, X, n_samples=5000, *, random_state=None) -> np.ndarray:
        """Log-likelihood of each row by importance sampling from the encoder.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        n_samples : int, default=5000
            Codes per row; the estimate is a lower bound in expectation that tightens with it.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Nats.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise ValueError(f"n_samples is {n_samples!r}; expected a positive integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        seed = seed_from(rng)
        rows, out, n = self._rows(X), np.empty(X.shape[0]), X.shape[0]
        chunk = min(int(n_samples), 250)
        block = max(1, 2000 // chunk)
        network, gpu = self._network_for(chunk * block)
        for start in range(0, n, block):
            index = np.arange(start, min(n, start + block))
            x = _arrays.put(_core.take_rows(rows, index, X.shape[1])[0], gpu)
            parts = []
            for step, done in enumerate(range(0, int(n_samples), chunk)):
                k = min(chunk, int(n_samples) - done)
                draw = Draw((seed + start) & (2**64 - 1), step).names(_EVALUATE)
                parts.append(self._log_weights(network, x, k, draw).numpy().astype(np.float64))
            total = special.logsumexp(np.concatenate(parts, axis=1), axis=1)
            out[index] = total - math.log(n_samples) - self._offset(X.shape[1])
        return out

    def active_units(self, X, threshold=0.01) -> int:
        """Latent dimensions whose posterior mean varies over X (Burda et al., 2016).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        threshold : float, default=0.01
            Least variance of the mean that counts as active.
        """
        return int(np.count_nonzero(self.transform(X).var(axis=0) > threshold))

    def interpolate(self, a, b, n=10):
        """Decoded codes on the straight line between the codes of two rows.

        Parameters
        ----------
        a, b : array-like of shape (n_features,)
        n : int, default=10
            Points, both ends included.

        Returns
        -------
        X : ndarray of shape (n, n_features)
        """
        ends = self.transform(np.stack([np.asarray(a), np.asarray(b)]))
        share = np.linspace(0, 1, n)[:, None]
        return self.inverse_transform((1 - share) * ends[0] + share * ends[1])


register_model(VAE)
