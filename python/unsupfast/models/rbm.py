"""Restricted Boltzmann machine."""

from __future__ import annotations

import numbers

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..io import register_model
from ..likelihood import Estimate, estimate_log_partition
from ._missing import Missing
from ._rbm_core import checked_states, clamped, concatenated, seed_from
from ._rbm_training import RBMTraining

__all__ = ["RBM"]


class RBM(RBMTraining):
    """Restricted Boltzmann machine.

    ``E(v, h) = -a'v - b'h - v'W h - sum log w(v_i) - sum log w(h_j)``, with the weights w of the
    kinds of unit (:mod:`unsupfast.units`; 1 for Bernoulli units). Gaussian visibles:
    ``E(v, h) = sum_i (v_i - a_i)^2 / (2 s_i^2) - b'h - (v / s^2)'W h``. Trained by contrastive
    divergence [1]_ or persistent contrastive divergence [2]_, optionally with the centred
    gradient [3]_.

    The first six parameters are those of :class:`sklearn.neural_network.BernoulliRBM`, with the
    same names and defaults.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    learning_rate : float, sequence of float or callable, default=0.1
        Step on the gradient of the mean log-likelihood. A sequence gives one value per epoch (the
        last one holds on); a callable is given the epoch from 0.
    batch_size : int, default=10
        Rows per mini-batch; also the number of persistent chains.
    n_iter : int, default=10
        Epochs.
    verbose : int, default=0
        1 prints a line per epoch; 2 adds a progress bar.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the order of the rows, and all sampling.
    method : {"pcd", "cd", "fpcd", "pt"}, default="pcd"
        Where the model's samples come from: chains that persist, or ``k`` steps from the data; or
        chains that persist and mix faster, by fast weights that decay [4]_, or by exchanges among
        ``n_temperatures`` chains each (parallel tempering [5]_).
    n_temperatures : int, default=10
        Of parallel tempering. The ladder starts evenly spaced and is adapted after every epoch, so
        that exchanges fail equally often everywhere.
    optimizer : {"sgd", "adam"}, default="sgd"
        "adam" adapts the step of every parameter; its first moment decays by ``momentum`` (0.9
        where that is 0).
    clip_norm : float or None, default=None
        Largest norm of the gradient of all parameters; larger ones are scaled down.
    max_norm : float or None, default=None
        Largest norm of the weights of a hidden unit; they are scaled down to it after every update.
    k : int, sequence of int or callable, default=1
        Gibbs steps per update; a schedule like ``learning_rate``.
    visible, hidden : {"bernoulli", "gaussian", "spin", "relu", "drelu", "replicated_softmax"}\
 or an object of :mod:`unsupfast.units`, default="bernoulli"
        Kinds of units; ``units.Softmax(n)`` makes groups of which one is on, ``units.Mixed`` puts
        several kinds into a layer. Bernoulli visibles take values in [0, 1] as probabilities;
        values outside are not refused, as in scikit-learn, but have no probabilistic meaning.
        Gaussian visibles take data of any scale, which `fit` standardises by the means and standard
        deviations of all rows; of an iterable those of its first block, of `partial_fit` those of
        its first mini-batch (``units.Gaussian(standardize=False)``: as they are). They learn one
        variance per unit, bounded to [exp(-7), exp(4)]. Results are in the data's units, densities
        too. Word counts ("replicated_softmax") are for visible units, whose biases start at the log
        frequencies of the words.
    momentum : float, sequence or callable, default=0.0
        In [0, 1).
    weight_decay, l1 : float, default=0.0
        L2 and L1 penalties on the weights, in units of the gradient.
    centering : bool, default=False
        Use the centred gradient: less dependent on the mean of the data, better conditioned.
    sparsity_target : float or None, default=None
        Desired mean activity of hidden units, in (0, 1).
    sparsity_cost : float, default=0.1
        Weight of the push towards it.
    selectivity_target : float or None, default=None
        Desired mean of hidden activities, in (0, 1), that are selective (few rows excite a unit)
        and sparse (a row excites few units): in a mini-batch, activities go some way to
        ``rank ** (1 / selectivity_target - 1)``, by their ranks in (0, 1) among the unit's rows,
        these taken of ranks among the row's units [6]_. Mini-batches should have many rows.
    selectivity_cost : float, default=0.1
        How much of the way, in [0, 1].
    learn_sigma : bool, default=True
        Learn the variances of Gaussian visibles (otherwise they stay 1).
    precision : {"auto", "float32", "float64", "bfloat16", "int16"}, default="auto"
        Precision of the arithmetic. "auto" is that of X: float32 stays float32, all else becomes
        float64, which is several times slower. "bfloat16" rounds the factors of each product and
        keeps float32 weights and sums. "int16" is the fastest on binary data: while training, what
        binary states are multiplied with is rounded to 16-bit fixed point (steps of 1/4095 of the
        largest weight of a unit) and summed exactly; all else is float32.
    device : {"auto", "cpu", "cuda", "cuda:<number>"}, default="auto"
        Where to train and compute; learned attributes are NumPy arrays in any case. "auto" is the
        first GPU where there is one that can be used and mini-batches are large enough for it to
        be faster, else the CPU.
    shuffle : bool, default=True
        Visit the rows in a new random order every epoch.
    validation_fraction : float or None, default=None
        Share of the rows held out to measure ``validation_pseudo_log_likelihood`` and
        ``free_energy_gap`` (mean free energy of held-out minus training rows; a growing gap is
        overfitting).
    patience : int or None, default=None
        Stop after so many epochs without a better held-out score, and keep the best epoch's state.
        Needs ``validation_fraction``.
    callbacks : iterable of callable or None, default=None
        Each is called with an :class:`unsupfast.Event` after every epoch; returning True stops.
    checkpoint : path or None, default=None
        File to write the whole state of training to, every ``checkpoint_every`` epochs.
    checkpoint_every : int, default=1
    resume : path or None, default=None
        A checkpoint to continue from: the result is bitwise that of an uninterrupted run.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Weights.
    intercept_hidden_ : ndarray of shape (n_components,)
    intercept_visible_ : ndarray of shape (n_features,)
    log_variance_ : ndarray of shape (n_features,)
        Log variances of Gaussian visibles (zeros for others).
    offset_, scale_ : ndarray of shape (n_features,)
        Mean and standard deviation that Gaussian visibles are standardised by (0 and 1 for others);
        weights, visible biases and log variances are those of ``(X - offset_) / scale_``.
    shape_visible_, shape_hidden_ : ndarray of shape (2, n_features) and (2, n_components)
        Gaps and asymmetries of double rectified units (zeros for others).
    h_samples_ : ndarray of shape (batch_size, n_components)
        States of the persistent chains; tempered ones follow each other, the hottest first.
    temperatures_, swap_rates_ : ndarray
        Inverse temperatures of tempered chains, and the share of exchanges between neighbours that
        were made in the last epoch.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``pseudo_log_likelihood`` (nats per sample, on
        up to 1000 training rows; where visible units have finitely many states) or
        ``reconstruction_error`` (mean squared, in units of ``scale_``; others), and the held-out
        measures.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int

    References
    ----------
    .. [1] G. Hinton. "Training products of experts by minimizing contrastive divergence". Neural
           Computation 14, 2002.
    .. [2] T. Tieleman. "Training restricted Boltzmann machines using approximations to the
           likelihood gradient". ICML 2008.
    .. [3] J. Melchior, A. Fischer, L. Wiskott. "How to center deep Boltzmann machines". JMLR 17,
           2016.
    .. [4] T. Tieleman, G. Hinton. "Using fast weights to improve persistent contrastive
           divergence". ICML 2009.
    .. [5] G. Desjardins, A. Courville, Y. Bengio, P. Vincent, O. Delalleau. "Tempered Markov chain
           Monte Carlo for training of restricted Boltzmann machines". AISTATS 2010.
    .. [6] H. Goh, N. Thome, M. Cord. "Biasing restricted Boltzmann machines to manipulate latent
           selectivity and sparsity". NIPS workshop on deep learning, 2010.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.float32)
    >>> uf.RBM(2, random_state=0).fit_transform(X).shape
    (4, 2)
    """

    def __init__(
        self,
        n_components=256,
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
        method="pcd",
        n_temperatures=10,
        optimizer="sgd",
        clip_norm=None,
        max_norm=None,
        k=1,
        visible="bernoulli",
        hidden="bernoulli",
        momentum=0.0,
        weight_decay=0.0,
        l1=0.0,
        centering=False,
        sparsity_target=None,
        sparsity_cost=0.1,
        selectivity_target=None,
        selectivity_cost=0.1,
        learn_sigma=True,
        precision="auto",
        device="auto",
        shuffle=True,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.n_temperatures = n_temperatures
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.k = k
        self.visible = visible
        self.hidden = hidden
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.centering = centering
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.selectivity_target = selectivity_target
        self.selectivity_cost = selectivity_cost
        self.learn_sigma = learn_sigma
        self.precision = precision
        self.device = device
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume

    def transform(self, X):
        """Mean hidden activities: P(h=1|v=X) of Bernoulli units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            NaN where a value is missing: then means over 200 Gibbs steps, given the others.

        Returns
        -------
        H : ndarray of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False, missing=True)
        missing = Missing.of(X, self._visible_layer, fitted=True)
        if missing is None:
            return self._mean_hiddens(X)
        return missing.hidden_means(self, steps=200, burn_in=50, seed=self._seed)

    def inverse_transform(self, H):
        """Mean of the visible layer given hidden activities.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Of counts the distribution over what is counted.
        """
        check_is_fitted(self)
        if sp.issparse(H):
            raise TypeError(f"H is a sparse {type(H).__name__}; expected a dense array")
        n_hidden = self.components_.shape[0]
        H = np.ascontiguousarray(checked_states(H, "H", self.components_.dtype, n_hidden))
        if H.ndim != 2:
            raise ValueError(f"H has shape {H.shape}; expected (n_samples, {n_hidden})")
        return self._mean_visibles(H)

    def reconstruct(self, X):
        """Mean of the visible layer given the mean hidden activities of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._reconstruct(self._validate(X, reset=False))

    def gibbs(self, v):
        """One Gibbs step: hidden states given v, then visible states given those.

        Parameters
        ----------
        v : array-like of shape (n_samples, n_features)

        Returns
        -------
        v_new : ndarray of shape (n_samples, n_features)
            Boolean for Bernoulli visibles.
        """
        check_is_fitted(self)
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        v = checked_states(v, "v", self.components_.dtype, self.components_.shape[1])
        h = self._sample_hiddens(v, self.random_state_)
        return self._sample_visibles(h, self.random_state_, self._totals(np.atleast_2d(v)))

    def sample(
        self, n_samples=1, steps=1000, *, clamp=None, mean=False, total=100, random_state=None
    ):
        """Draw from the model by Gibbs sampling.

        Parameters
        ----------
        n_samples : int, default=1
        steps : int, default=1000
            Gibbs steps from states drawn at the mean of the training data.
        clamp : array of shape (n_features,) or (n_samples, n_features), or None
            Values to hold fixed, NaN where free: samples of the conditional distribution.
        mean : bool, default=False
            Return the conditional means of the last step, not the states.
        total : int, default=100
            What the counts of a row add up to, where visible units are counts.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        for name, value in (("n_samples", n_samples), ("steps", steps)):
            if not isinstance(value, numbers.Integral) or value < 0:
                raise ValueError(f"{name} is {value!r}; expected a non-negative integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(seed_from(rng))
        machine = self._machine(total)
        start = machine.sample_base(n_samples, self._base_bias(), generator).astype(self._dtype)
        mask = clamped(clamp, start)
        core = self._synced_core()
        states, means = self._gibbs_from(core, start, steps, mask, seed_from(rng))
        return means if mean else states

    # ------------------------------------------------------------------ likelihood

    def score_samples(self, X):
        """A score of each row that is larger for rows more like the training data.

        Visible units of finitely many states: the stochastic pseudo-likelihood, by one variable of
        the row given all others (a unit, a group of which one is on, or a word), times their
        number, as scikit-learn flips one feature; which one depends on the row and on
        ``random_state``. Layers with real numbers: minus the free energy, that is the log density
        up to log Z.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            States that the visible units have; binary values for Bernoulli ones.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if not self._has_pseudo_likelihood():
            return -self._free_energy(X)
        return self._pseudo_likelihood(X, check_random_state(self.random_state))

    def pseudo_log_likelihood(self, X, *, exact=False) -> float:
        """Mean pseudo-log-likelihood, nats per sample.

        The sum over the variables of a row, which are units, groups of which one is on, and words,
        of the log probability of each given all others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        exact : bool, default=False
            Take every variable of every row (a pass each) instead of one drawn at random.

        Raises
        ------
        ValueError
            If visible units are real numbers, whose density given all others has no closed form.
        """
        check_is_fitted(self)
        if not self._has_pseudo_likelihood():
            raise ValueError(
                "pseudo_log_likelihood needs visible units with finitely many states, but visible "
                f"is {self.visible!r}: the density of a real number given all others has no closed "
                "form; use log_likelihood"
            )
        if not exact:
            return float(self.score_samples(X).mean())
        X = self._validate(X, reset=False)
        return float(concatenated(X, self._exact_pseudo_likelihood).mean())

    def free_energy(self, X):
        """Free energy ``F(v) = -log sum_h exp(-E(v, h))``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        F : ndarray of shape (n_samples,)
            Nats; ``log p(v) = -F(v) - log Z``.
        """
        check_is_fitted(self)
        return self._free_energy(self._validate(X, reset=False))

    def _base_bias(self) -> np.ndarray:
        # fields at which units have the mean of the data: annealing starts near them
        return self._visible_layer.field_of_mean(self._data_mean.astype(np.float64))

    def log_partition(
        self,
        method="ais",
        *,
        n_chains=100,
        n_temperatures=10_000,
        start=None,
        total=1,
        random_state=None,
    ) -> Estimate:
        """Log of the partition function.

        Parameters
        ----------
        method : {"ais", "reverse_ais", "exact"}, default="ais"
            Annealed importance sampling from the base-rate machine (a stochastic lower bound), the
            reverse from samples of the model (a stochastic upper bound), or enumeration of the
            smaller layer of discrete units (at most 2^22 joint states).
        n_chains : int, default=100
        n_temperatures : int, default=10000
        start : array-like of shape (n_chains, n_features) or None, default=None
            For "reverse_ais": samples of the model. None draws them exactly where a layer can be
            enumerated, else runs 5000 Gibbs steps, which is approximate.
        total : int, default=1
            What the counts of a row add up to, where visible units are counts: log Z depends on it.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        Estimate
            ``value`` and 95 % ``interval`` in nats.
        """
        check_is_fitted(self)
        if not isinstance(total, numbers.Integral) or total < 1:
            raise ValueError(f"total is {total!r}; expected a positive integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(seed_from(rng))
        if start is not None:
            start = checked_states(start, "start", np.float64, self.components_.shape[1])
            if sp.issparse(start) or start.ndim != 2:
                raise ValueError(
                    f"start is a {type(start).__name__} of shape {start.shape}; expected a dense "
                    f"array of shape (n_chains, {self.components_.shape[1]})"
                )
        return estimate_log_partition(
            self._synced_core(),
            self._machine(int(total)),
            method,
            start=start,
            equilibrium=lambda: self.sample(n_chains, 5000, total=total, random_state=rng),
            base_bias=self._base_bias(),
            n_chains=n_chains,
            n_temperatures=n_temperatures,
            dtype=self.components_.dtype,
            rng=generator,
            enter=self._enter,
        )

    def log_likelihood(self, X, method="ais", **options) -> Estimate:
        """Mean log-likelihood of X, nats per sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        method, **options
            As for :meth:`log_partition`.

        Returns
        -------
        Estimate
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        mean = -float(np.mean(self._free_energy(X), dtype=np.float64))
        totals = np.broadcast_to(self._visible_layer.totals(X), X.shape[0])
        value, low, high = 0.0, 0.0, 0.0
        # rows of different lengths have partition functions of their own
        for total, share in zip(*np.unique(totals, return_counts=True), strict=True):
            log_z = self.log_partition(method, **{"total": int(total), **options})
            weight = share / len(totals)
            value += weight * log_z.value
            low, high = low + weight * log_z.interval[0], high + weight * log_z.interval[1]
        return Estimate(mean - value, (mean - high, mean - low), log_z.method)

    # ------------------------------------------------------------------ missing values

    def impute(self, X, steps=1000, *, burn_in=100, random_state=None):
        """Fills in missing values with their means given the observed ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where a value is missing.
        steps : int, default=1000
            Gibbs steps that conditional means are averaged over.
        burn_in : int, default=100
            Gibbs steps before those.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        for name, value, least in (("steps", steps, 1), ("burn_in", burn_in, 0)):
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} is {value!r}; expected an integer of at least {least}")
        X = self._validate(X, reset=False, missing=True)
        missing = Missing.of(X, self._visible_layer, fitted=True)
        if missing is None:
            return X
        rng = check_random_state(self.random_state if random_state is None else random_state)
        return missing.means(self, steps, burn_in, seed_from(rng))


register_model(RBM)
