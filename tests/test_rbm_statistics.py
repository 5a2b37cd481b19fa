"""RBM training and sampling against exact enumeration and a NumPy twin with the same draws."""

import itertools
from functools import cached_property

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import expit, logsumexp, ndtri

import unsupfast as uf
from unsupfast import _core
from unsupfast.likelihood import Machine
from unsupfast.units import Layer

# One test is one draw of a statistic with fixed seeds; beyond this it is wrong, not unlucky.
P_VALUE = 1e-4
# Streams of random numbers of training: data's hiddens, model's visibles, model's hiddens.
POSITIVE, VISIBLE, HIDDEN = 0, 1, 2


# ------------------------------------------------------------------------------ exact machines


def states(n):
    assert n <= 12
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def machine_of(W, a, b, z=None):
    """Bernoulli hidden units; Bernoulli visibles, or Gaussian ones of log variance z."""
    visible = Layer.of("bernoulli" if z is None else "gaussian", len(a), "visible")
    log_variance = np.zeros(len(a)) if z is None else z
    return Machine(W, a, b, visible, Layer.of("bernoulli", len(b), "hidden"), log_variance)


class Exact:
    """A small RBM by sums over all states: every number from the energy alone."""

    def __init__(self, n_visible, n_hidden, seed=0, scale=1.0, gaussian=False):
        rng = np.random.default_rng(seed)
        self.W = rng.normal(0, scale, (n_visible, n_hidden))
        self.a = rng.normal(0, 0.5, n_visible)
        self.b = rng.normal(0, 0.5, n_hidden)
        self.z = rng.uniform(-1, 0.7, n_visible) if gaussian else None

    # the states, on demand: larger machines are compared with the twin only
    @cached_property
    def v(self):
        return states(len(self.a))

    @cached_property
    def h(self):
        return states(len(self.b))

    @cached_property
    def Z(self):
        return np.exp(-self.energy(self.v, self.h)).sum()

    @cached_property
    def joint(self):
        return np.exp(-self.energy(self.v, self.h)) / self.Z

    @property
    def p_v(self):
        return self.joint.sum(1)

    @property
    def p_h(self):
        return self.joint.sum(0)

    def energy(self, v, h):
        """E(v, h) for all pairs of rows."""
        if self.z is None:
            return -(v @ self.a)[:, None] - h @ self.b - v @ self.W @ h.T
        precision = np.exp(-self.z)
        own = 0.5 * ((v - self.a) ** 2 * precision).sum(1)
        return own[:, None] - h @ self.b - (v * precision) @ self.W @ h.T

    def free_energy(self, v):
        return -logsumexp(-self.energy(v, self.h), axis=1)

    def hidden_mean(self, v):
        return expit((v if self.z is None else v * np.exp(-self.z)) @ self.W + self.b)

    def visible_mean(self, h):
        x = h @ self.W.T + self.a
        return expit(x) if self.z is None else x

    def statistics(self, v):
        """Rows of -dE/d(W, a, b[, z]), hidden units at their means."""
        h = self.hidden_mean(v)
        outer = v[:, :, None] * h[:, None, :]
        if self.z is None:
            return np.hstack([outer.reshape(len(v), -1), v, h])
        s = np.exp(-self.z)
        dz = s * ((v - self.a) ** 2 / 2 - (outer * self.W).sum(2))
        return np.hstack([(outer * s[:, None]).reshape(len(v), -1), (v - self.a) * s, h, dz])

    def transition(self):
        """P(v'|v) of one Gibbs step."""
        p_h = np.prod(np.where(self.h, x := self.hidden_mean(self.v)[:, None], 1 - x), axis=2)
        p_v = np.prod(np.where(self.v, x := self.visible_mean(self.h)[:, None], 1 - x), axis=2)
        return p_h @ p_v

    def gaussian_hiddens(self):
        """log p(h) up to log Z, and log Z, of Gaussian visibles: the integral done by hand."""
        mean = self.h @ self.W.T + self.a
        variance = np.exp(self.z)
        log = self.h @ self.b + ((mean**2 - self.a**2) / (2 * variance)).sum(1)
        log += 0.5 * np.log(2 * np.pi * variance).sum()
        return log, logsumexp(log)

    def draw_hiddens(self, n, rng):
        p = self.p_h if self.z is None else np.exp(np.subtract(*self.gaussian_hiddens()))
        return self.h[rng.choice(len(p), n, p=p / p.sum())]

    def install(self, model, dtype=np.float64):
        """The model made to hold exactly these parameters, fresh otherwise."""
        n_visible, n_hidden = self.W.shape
        model.set_params(n_components=n_hidden)
        model._initialise(n_visible, dtype, np.random.RandomState(0))
        model._data_mean = np.full(n_visible, 0.5, dtype)
        model.n_features_in_ = n_visible
        model.random_state_ = np.random.RandomState(0)
        model.components_ = np.asarray(self.W.T, dtype)
        model.intercept_visible_ = self.a.astype(dtype)
        model.intercept_hidden_ = self.b.astype(dtype)
        if self.z is not None:
            model.log_variance_ = self.z.astype(dtype)
        return model

    def machine(self):
        return machine_of(self.W, self.a, self.b, self.z)

    def index(self, v):
        """Row numbers in states() of binary rows."""
        v = np.asarray(v, dtype=np.int64)
        return v @ (1 << np.arange(v.shape[1])[::-1])


def parameters(model, variance=False):
    parts = [model.components_.T.ravel(), model.intercept_visible_, model.intercept_hidden_]
    return np.concatenate(parts + ([model.log_variance_] if variance else [])).astype(np.float64)


def update_of(model, X, rate, variance=False, **fit):
    """(new - old parameters) / rate of one mini-batch."""
    before = parameters(model, variance)
    model.partial_fit(X, **fit)
    return (parameters(model, variance) - before) / rate


def p_of(difference, covariance):
    """Two-sided chi-square p-value of a difference whose mean should be 0."""
    values, vectors = np.linalg.eigh(covariance)
    keep = values > values.max() * 1e-10
    t = ((difference @ vectors[:, keep]) ** 2 / values[keep]).sum()
    return 2 * min(stats.chi2.sf(t, keep.sum()), stats.chi2.cdf(t, keep.sum()))


def covariance_under(p, statistic):
    centred = statistic - p @ statistic
    return (centred * p[:, None]).T @ centred


def total_variation(index, p):
    return 0.5 * np.abs(np.bincount(index, minlength=len(p)) / len(index) - p).sum()


def tv_bound(p, n, rng):
    """What the total variation of n exact draws stays below: mean + 5 standard deviations."""
    draws = rng.multinomial(n, p / p.sum(), size=200) / n
    tv = 0.5 * np.abs(draws - p).sum(1)
    return tv.mean() + 5 * tv.std()


def random_binary(n, n_visible, seed):
    rng = np.random.default_rng(seed)
    return (rng.random((n, n_visible)) < rng.uniform(0.1, 0.9, n_visible)).astype(np.float64)


# ------------------------------------------------------------------------------ energies, log Z


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(8, 5), (5, 8), (8, 8), (1, 1), (7, 1)])
def test_log_partition_is_the_sum_over_both_layers(n_visible, n_hidden):
    exact = Exact(n_visible, n_hidden, seed=n_visible * 10 + n_hidden)
    total = 0.0
    for v in exact.v:
        for h in exact.h:
            total += np.exp(v @ exact.a + h @ exact.b + v @ exact.W @ h)
    assert exact.machine().log_partition() == pytest.approx(np.log(total), rel=1e-13)
    model = exact.install(uf.RBM())
    assert model.log_partition("exact").value == pytest.approx(np.log(total), rel=1e-13)
    X = random_binary(10, n_visible, 1)
    expected = np.mean(np.log(exact.p_v[exact.index(X)]))
    assert model.log_likelihood(X, "exact").value == pytest.approx(expected, rel=1e-12)


def test_log_partition_beyond_one_block_of_states():
    # 15 units to enumerate are four blocks; independent units have a closed form
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=16), rng.normal(size=15)
    machine = machine_of(np.zeros((16, 15)), a, b)
    expected = np.logaddexp(0, a).sum() + np.logaddexp(0, b).sum()
    assert machine.log_partition() == pytest.approx(expected, rel=1e-13)


def test_exact_log_partition_does_not_overflow():
    exact = Exact(6, 5, seed=1)
    machine = machine_of(exact.W * 1000, exact.a * 1000, exact.b * 1000)
    assert machine.log_partition() == pytest.approx(
        logsumexp(-1000 * exact.energy(exact.v, exact.h))
    )


@pytest.mark.parametrize("n_visible", [1, 2])
def test_gaussian_log_partition_by_quadrature(n_visible):
    exact = Exact(n_visible, 3, seed=5, gaussian=True)
    reach = np.abs(exact.a) + np.abs(exact.W).sum(1) + 12 * np.exp(exact.z / 2)
    axes = [np.linspace(-r, r, 801) for r in reach]
    v = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, n_visible)
    cell = np.prod([x[1] - x[0] for x in axes])
    # the trapezoid rule is exact to rounding on smooth functions that vanish at the ends
    expected = logsumexp(-exact.energy(v, exact.h)) + np.log(cell)
    assert exact.machine().log_partition() == pytest.approx(expected, rel=1e-11)
    assert exact.gaussian_hiddens()[1] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6)])
def test_free_energy_is_its_definition(gaussian, dtype, tolerance):
    exact = Exact(7, 6, seed=3, gaussian=gaussian)
    model = exact.install(uf.RBM(visible="gaussian" if gaussian else "bernoulli"), dtype)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 7)) if gaussian else random_binary(50, 7, 0)
    expected = exact.free_energy(X)
    assert_allclose(
        model.free_energy(X.astype(dtype)), expected, rtol=tolerance, atol=tolerance * 10
    )
    if gaussian:
        # scores are log densities up to log Z
        assert_array_equal(
            model.score_samples(X.astype(dtype)), -model.free_energy(X.astype(dtype))
        )


@pytest.mark.parametrize("gaussian", [False, True])
def test_conditional_means_are_ratios_of_sums(gaussian):
    exact = Exact(5, 4, seed=4, gaussian=gaussian)
    model = exact.install(uf.RBM(visible="gaussian" if gaussian else "bernoulli"))
    X = np.random.default_rng(0).normal(size=(20, 5)) if gaussian else exact.v
    weight = np.exp(-exact.energy(X, exact.h))
    posterior = weight / weight.sum(1, keepdims=True)
    assert_allclose(model.transform(X), posterior @ exact.h, rtol=1e-12)
    if not gaussian:
        weight = np.exp(-exact.energy(exact.v, exact.h)).T
        posterior = weight / weight.sum(1, keepdims=True)
        assert_allclose(model.inverse_transform(exact.h), posterior @ exact.v, rtol=1e-12)


def test_pseudo_log_likelihood_is_its_definition():
    exact = Exact(6, 4, seed=6)
    model = exact.install(uf.RBM(random_state=0))
    X = random_binary(40, 6, 2)
    conditional = np.zeros(len(X))
    for i in range(6):
        flipped = X.copy()
        flipped[:, i] = 1 - flipped[:, i]
        p, q = exact.p_v[exact.index(X)], exact.p_v[exact.index(flipped)]
        conditional += np.log(p / (p + q))
    assert model.pseudo_log_likelihood(X, exact=True) == pytest.approx(conditional.mean())
    # the stochastic one: one random feature a row, times their number, has the same mean
    scores = []
    for seed in range(400):
        model.set_params(random_state=seed)
        scores.append(model.score_samples(X))
    scores = np.array(scores)
    error = scores.std(0) / np.sqrt(len(scores))
    z = (scores.mean(0) - conditional) / np.maximum(error, 1e-12)
    assert np.abs(z).max() < 5


# ------------------------------------------------------------------------------ the gradient


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(8, 8), (6, 5), (3, 7)])
@pytest.mark.parametrize("k", [1, 3])
def test_pcd_update_is_the_likelihood_gradient_when_chains_are_exact(n_visible, n_hidden, k):
    exact = Exact(n_visible, n_hidden, seed=7 + k, scale=0.7)
    n_chains, rate = 60_000, 0.01
    model = exact.install(uf.RBM(method="pcd", k=k, learning_rate=rate))
    model.h_samples_ = exact.draw_hiddens(n_chains, np.random.default_rng(k))
    X = random_binary(37, n_visible, 3)
    statistic = exact.statistics(exact.v)
    expected = exact.statistics(X).mean(0) - exact.p_v @ statistic
    covariance = covariance_under(exact.p_v, statistic) / n_chains
    update = update_of(model, X, rate)
    assert p_of(update - expected, covariance) > P_VALUE
    z = (update - expected) / np.sqrt(np.diag(covariance))
    assert np.abs(z).max() < 4.5
    # the same test sees a small error: a gradient that is 5 % too large
    assert p_of(update - 1.05 * expected, covariance) < P_VALUE


def test_the_gradient_is_that_of_the_exact_log_likelihood():
    """The yardstick itself: statistics against finite differences of the exact likelihood."""
    for gaussian in (False, True):
        exact = Exact(4, 3, seed=11, gaussian=gaussian)
        rng = np.random.default_rng(0)
        X = rng.normal(size=(9, 4)) if gaussian else random_binary(9, 4, 0)
        arrays = [exact.W, exact.a, exact.b] + ([exact.z] if gaussian else [])

        def likelihood(exact=exact, X=X):
            return -exact.free_energy(X).mean() - exact.machine().log_partition()

        gradient = []
        for array in arrays:
            for i in np.ndindex(array.shape):
                kept = array[i]
                array[i] = kept + 1e-5
                high = likelihood()
                array[i] = kept - 1e-5
                low = likelihood()
                array[i] = kept
                gradient.append((high - low) / 2e-5)
        if gaussian:
            log_p, log_z = exact.gaussian_hiddens()
            # moments of v given h: averages over a dense grid of Gauss-Hermite points
            x, w = np.polynomial.hermite_e.hermegauss(30)
            model_part = 0.0
            for p, mean in zip(np.exp(log_p - log_z), exact.visible_mean(exact.h), strict=True):
                # h stands at this state, so statistics are those of the joint, not of its mean
                h = exact.h[np.argmin(np.abs(exact.visible_mean(exact.h) - mean).sum(1))]
                part = joint_statistics(exact, mean, h, x, w / w.sum())
                model_part = model_part + p * part
        else:
            model_part = exact.p_v @ exact.statistics(exact.v)
        assert_allclose(exact.statistics(X).mean(0) - model_part, gradient, rtol=1e-6, atol=1e-8)


def joint_statistics(exact, mean, h, nodes, weights):
    """Expectation over v | h of -dE/d(W, a, b, z), by quadrature of each unit."""
    s = np.exp(-exact.z)
    v = mean[:, None] + np.exp(exact.z / 2)[:, None] * nodes
    first = v @ weights
    second = (v - exact.a[:, None]) ** 2 @ weights
    dz = s * (second / 2 - first * (exact.W @ h))
    return np.concatenate([np.outer(first * s, h).ravel(), (first - exact.a) * s, h, dz])


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_cd_update_is_the_k_step_gradient(k, weighted):
    """Expected CD-k: data statistics minus those after k exact transitions from the data."""
    exact = Exact(6, 5, seed=12)
    rate, copies = 0.01, 1500
    rows = random_binary(24, 6, 4)
    weight = np.random.default_rng(0).integers(0, 4, 24).astype(float) if weighted else np.ones(24)
    model = exact.install(uf.RBM(method="cd", k=k, learning_rate=rate))
    options = {"row_weight": np.tile(weight, copies)} if weighted else {}
    update = update_of(model, np.tile(rows, (copies, 1)), rate, **options)

    statistic = exact.statistics(exact.v)
    after = np.linalg.matrix_power(exact.transition(), k)[exact.index(rows)]
    share = weight / weight.sum()
    # a weight of 2 is a row that is there twice, one of 0 a row that is absent
    repeated = np.repeat(rows, weight.astype(int), axis=0)
    data = exact.statistics(repeated).mean(0)
    expected = data - share @ after @ statistic
    covariance = (
        sum(s**2 * covariance_under(p, statistic) for s, p in zip(share, after, strict=True))
        / copies
    )
    assert p_of(update - expected, covariance) > P_VALUE
    # CD-k is not CD-(k + 1): the test can tell
    other = data - share @ after @ exact.transition() @ statistic
    if k < 5:
        assert p_of(update - other, covariance) < P_VALUE


def test_cd_with_many_steps_is_the_likelihood_gradient():
    exact = Exact(6, 5, seed=13)
    rate, copies = 0.01, 1000
    rows = random_binary(24, 6, 5)
    model = exact.install(uf.RBM(method="cd", k=60, learning_rate=rate))
    update = update_of(model, np.tile(rows, (copies, 1)), rate)
    statistic = exact.statistics(exact.v)
    expected = exact.statistics(rows).mean(0) - exact.p_v @ statistic
    covariance = covariance_under(exact.p_v, statistic) / (copies * len(rows))
    assert p_of(update - expected, covariance) > P_VALUE


@pytest.mark.parametrize("method", ["pcd", "cd"])
def test_gaussian_update_is_the_likelihood_gradient(method):
    exact = Exact(4, 3, seed=14, scale=0.5, gaussian=True)
    rng = np.random.default_rng(1)
    n, rate = 60_000, 1e-4
    k = 1 if method == "pcd" else 40
    model = exact.install(uf.RBM(method=method, k=k, visible="gaussian", learning_rate=rate))
    rows = rng.normal(size=(30, 4))
    X = rows if method == "pcd" else np.tile(rows, (n // 30, 1))
    model.h_samples_ = exact.draw_hiddens(n, rng)
    update = update_of(model, X, rate, variance=True)
    # the model part of the gradient, exactly; its covariance from an exact sample
    log_p, log_z = exact.gaussian_hiddens()
    x, w = np.polynomial.hermite_e.hermegauss(20)
    model_part = sum(
        np.exp(lp - log_z)
        * joint_statistics(exact, exact.visible_mean(h[None])[0], h, x, w / w.sum())
        for lp, h in zip(log_p, exact.h, strict=True)
    )
    h = exact.draw_hiddens(n, rng)
    v = exact.visible_mean(h) + np.exp(exact.z / 2) * rng.standard_normal((n, 4))
    covariance = np.cov(exact.statistics(v).T) / n
    difference = update - (exact.statistics(rows).mean(0) - model_part)
    assert p_of(difference, covariance) > P_VALUE
    assert np.abs(difference / np.sqrt(np.diag(covariance))).max() < 4.5


# ------------------------------------------------------------------------------ chains


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_chains_stay_at_the_exact_distribution(steps):
    exact = Exact(5, 4, seed=15, scale=1.2)
    n = 100_000
    rng = np.random.default_rng(steps)
    model = exact.install(uf.RBM(random_state=steps))
    start = exact.v[rng.choice(len(exact.p_v), n, p=exact.p_v)]
    joint = exact.joint.ravel()
    bound = tv_bound(joint, n, rng)

    def empirical(m, v):
        core = m._synced_core()
        v, _ = core.gibbs(v, steps, None, 77 + steps)
        h = core.hidden_given_visible(v, "sample", 1234)
        return exact.index(v) * len(exact.h) + exact.index(h)

    assert total_variation(empirical(model, start), joint) < bound
    # a machine with weights that are 5 % off does not pass
    model.components_ = model.components_ * 1.05
    if steps >= 4:
        assert total_variation(empirical(model, start), joint) > bound


@pytest.mark.parametrize("k", [1, 4, 16])
def test_persistent_chains_stay_at_the_exact_distribution(k):
    exact = Exact(5, 6, seed=16, scale=1.2)
    n = 60_000
    rng = np.random.default_rng(k)
    model = exact.install(uf.RBM(method="pcd", k=k, learning_rate=1e-12))
    model.h_samples_ = start = exact.draw_hiddens(n, rng)
    model.partial_fit(random_binary(4, 5, 0))
    assert not np.array_equal(model.h_samples_, start)
    bound = tv_bound(exact.p_h, n, rng)
    assert total_variation(exact.index(model.h_samples_), exact.p_h) < bound
    chi = stats.chisquare(np.bincount(exact.index(model.h_samples_), minlength=64), exact.p_h * n)
    assert chi.pvalue > P_VALUE


def test_one_public_gibbs_step_has_the_exact_transition():
    exact = Exact(4, 3, seed=17)
    model = exact.install(uf.RBM(random_state=0))
    n = 8000
    transition = exact.transition()
    moved = model.gibbs(np.repeat(exact.v, n, axis=0)).astype(float)
    counts = np.array(
        [np.bincount(exact.index(rows), minlength=16) for rows in moved.reshape(16, n, 4)]
    )
    expected = transition * n
    chi = ((counts - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(chi, 16 * 15) > P_VALUE
    assert stats.chi2.cdf(chi, 16 * 15) > P_VALUE


def test_long_chains_have_the_exact_marginals():
    exact = Exact(8, 6, seed=18)
    model = exact.install(uf.RBM(random_state=3))
    n = 20_000
    v = model.sample(n, steps=150)
    assert set(np.unique(v)) == {0.0, 1.0}

    def moments(x):
        pairs = [x[:, i] * x[:, j] for i in range(8) for j in range(i)]
        return np.hstack([x, np.stack(pairs, 1)])

    m = moments(exact.v)
    covariance = covariance_under(exact.p_v, m) / n
    assert p_of(moments(v).mean(0) - exact.p_v @ m, covariance) > P_VALUE
    assert total_variation(exact.index(v), exact.p_v) < tv_bound(
        exact.p_v, n, np.random.default_rng(0)
    )
    # the last conditional means average to the same marginals
    means = model.sample(n, steps=150, mean=True)
    assert 0 < means.min() < means.max() < 1
    assert_allclose(means.mean(0), exact.p_v @ exact.v, atol=5 * 0.5 / np.sqrt(n))


def test_long_gaussian_chains_have_the_exact_moments():
    exact = Exact(4, 4, seed=19, scale=0.6, gaussian=True)
    model = exact.install(uf.RBM(visible="gaussian", random_state=0))
    n = 20_000
    v = model.sample(n, steps=100)
    log_p, log_z = exact.gaussian_hiddens()
    p, centres = np.exp(log_p - log_z), exact.visible_mean(exact.h)
    mean = p @ centres
    covariance = covariance_under(p, centres) + np.diag(np.exp(exact.z))
    assert p_of(v.mean(0) - mean, covariance / n) > P_VALUE
    error = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / n)
    assert np.abs((np.cov(v.T) - covariance) / error).max() < 5
    # and so have independent draws
    v = exact.machine().sample_exact(n, np.random.default_rng(0))
    assert p_of(v.mean(0) - mean, covariance / n) > P_VALUE


@pytest.mark.parametrize("per_row", [False, True])
def test_clamped_sampling_is_conditional(per_row):
    exact = Exact(6, 5, seed=20)
    model = exact.install(uf.RBM(random_state=1))
    n = 20_000
    patterns = np.array(
        [[1, np.nan, np.nan, 0, np.nan, 1], [np.nan, 0, 1, np.nan, np.nan, np.nan]]
    )[: 1 + per_row]
    clamp = np.repeat(patterns, n, axis=0) if per_row else patterns[0]
    v = model.sample(n * len(patterns), steps=80, clamp=clamp)
    for pattern, rows in zip(patterns, v.reshape(-1, n, 6), strict=True):
        held = ~np.isnan(pattern)
        assert_array_equal(rows[:, held], np.tile(pattern[held], (n, 1)))
        p = exact.p_v * (exact.v[:, held] == pattern[held]).all(1)
        p /= p.sum()
        counts = np.bincount(exact.index(rows), minlength=64)
        possible = p > 0
        assert counts[~possible].sum() == 0
        assert stats.chisquare(counts[possible], p[possible] * n).pvalue > P_VALUE
        # not the unconditional distribution
        free = exact.p_v @ exact.v[:, ~held]
        assert np.abs(rows[:, ~held].mean(0) - free).max() > 0.02


def test_clamped_gaussian_sampling_is_conditional():
    exact = Exact(3, 4, seed=21, scale=0.6, gaussian=True)
    model = exact.install(uf.RBM(visible="gaussian", random_state=1))
    n = 20_000
    v = model.sample(n, steps=60, clamp=[0.8, np.nan, np.nan])
    assert (v[:, 0] == 0.8).all()
    # p(h | v_0) from the energy with the other units integrated out
    s = np.exp(-exact.z)
    mean = exact.visible_mean(exact.h)
    log = exact.h @ exact.b + 0.8 * s[0] * (exact.h @ exact.W[0])
    log += ((mean[:, 1:] ** 2 - exact.a[1:] ** 2) * s[1:] / 2).sum(1)
    p = np.exp(log - logsumexp(log))
    expected = p @ mean[:, 1:]
    variance = covariance_under(p, mean[:, 1:]) + np.diag(np.exp(exact.z[1:]))
    assert p_of(v[:, 1:].mean(0) - expected, variance / n) > P_VALUE


def test_exact_draws_have_the_exact_distribution():
    for shape in ((4, 6), (6, 4)):
        exact = Exact(*shape, seed=22)
        v = exact.machine().sample_exact(50_000, np.random.default_rng(0))
        counts = np.bincount(exact.index(v), minlength=len(exact.p_v))
        assert stats.chisquare(counts, exact.p_v * len(v)).pvalue > P_VALUE


# ------------------------------------------------------------------------------ annealing


def trained(visible, seed=0, n_visible=12, n_hidden=8):
    """A small RBM trained on data with structure, and those data."""
    rng = np.random.default_rng(seed)
    prototypes = rng.random((5, n_visible)) < 0.5
    X = prototypes[rng.integers(0, 5, 600)] ^ (rng.random((600, n_visible)) < 0.08)
    X = X.astype(np.float64)
    rate = 0.1
    if visible == "gaussian":
        X = X * 2 - 1 + 0.5 * rng.standard_normal(X.shape)
        rate = 0.02
    model = uf.RBM(
        n_hidden, visible=visible, learning_rate=rate, n_iter=40, random_state=seed, batch_size=20
    )
    return model.fit(X), X


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_annealing_brackets_the_exact_value(visible):
    model, X = trained(visible)
    exact = model.log_partition("exact").value
    assert np.abs(model.components_).max() > 0.5  # trained: not the base machine
    below, above = [], []
    for seed in range(5):
        options = {"n_chains": 200, "n_temperatures": 1000, "random_state": seed}
        below.append(model.log_partition("ais", **options))
        above.append(model.log_partition("reverse_ais", **options))
    for estimate in below + above:
        assert estimate.interval[0] < estimate.value < estimate.interval[1]
        assert abs(estimate.value - exact) < 0.5
    # 95 % intervals, 5 seeds: one miss is possible, three are not
    assert sum(e.interval[0] > exact for e in below) <= 2
    assert sum(e.interval[1] < exact for e in above) <= 2
    mean_below = np.mean([e.value for e in below])
    mean_above = np.mean([e.value for e in above])
    spread = np.std([e.value for e in below + above])
    assert mean_below - 2 * spread < exact < mean_above + 2 * spread
    assert abs(mean_below - exact) < 0.15
    assert abs(mean_above - exact) < 0.15
    ais = model.log_likelihood(X, "ais", n_chains=200, n_temperatures=1000, random_state=0)
    assert ais.value == pytest.approx(-model.free_energy(X).mean() - below[0].value, rel=1e-12)
    assert ais.interval[0] < ais.value < ais.interval[1]


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("method", ["ais", "reverse_ais"])
def test_annealing_weights_are_unbiased(gaussian, method):
    """The mean weight is Z (or 1/Z) for any number of temperatures, with any base machine."""
    exact = Exact(5, 4, seed=23, scale=0.6, gaussian=gaussian)
    model = exact.install(uf.RBM(visible="gaussian" if gaussian else "bernoulli"))
    model._data_mean = np.linspace(0.2, 0.8, 5)
    truth = exact.gaussian_hiddens()[1] if gaussian else np.log(exact.Z)
    for n_temperatures in (3, 10):
        estimate = model.log_partition(
            method, n_chains=4000, n_temperatures=n_temperatures, random_state=5
        )
        low, high = estimate.interval
        error = (high - low) / (2 * 1.96)
        assert 0 < error < 0.05
        assert abs(estimate.value - truth) < 4 * error


def test_one_temperature_is_plain_importance_sampling():
    exact = Exact(5, 4, seed=24, scale=0.3)
    model = exact.install(uf.RBM())
    base = np.array([0.3, -0.2, 0.1, 0.5, 0.0])
    weights, _ = model._synced_core().anneal(exact.v.copy(), np.array([0.0, 1.0]), base, 0)
    expected = -exact.free_energy(exact.v) - (exact.v @ base + 4 * np.log(2))
    assert_allclose(weights, expected, rtol=1e-12, atol=1e-12)
    back, _ = model._synced_core().anneal(exact.v.copy(), np.array([1.0, 0.0]), base, 0)
    assert_allclose(back, -expected, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------ the NumPy twin


def twin(
    exact,
    X,
    *,
    seed,
    step=0,
    batch_size,
    rate,
    method="pcd",
    k=1,
    chains=None,
    momentum=0.0,
    l2=0.0,
    l1=0.0,
    centering=False,
    target=None,
    cost=0.0,
    weight=None,
    mean=None,
    learn_sigma=True,
):
    """One pass of training in NumPy with the compiled code's random numbers."""
    W, a, b = exact.W.copy(), exact.a.copy(), exact.b.copy()
    z = None if exact.z is None else exact.z.copy()
    V, H = W.shape
    vW, va, vb, vz = np.zeros((V, H)), np.zeros(V), np.zeros(H), np.zeros(V)
    lam = np.zeros(H)
    mu = X.mean(0) if mean is None else mean
    weight = np.ones(len(X)) if weight is None else weight

    def uniforms(rows, cols, sub, stream):
        u = _core.uniforms(rows, cols, seed, step + sub, stream)
        return u.astype(np.float64)

    for first in range(0, len(X), batch_size):
        v0, c = X[first : first + batch_size], weight[first : first + batch_size]
        if c.sum() == 0:
            continue
        c = c / c.sum()
        s = np.ones(V) if z is None else np.exp(-z)
        h0 = expit((v0 * s) @ W + b)
        if method == "cd":
            h = (uniforms(len(v0), H, 0, POSITIVE) < h0).astype(float)
            negative = c
        else:
            h = chains
            negative = np.full(len(h), 1 / len(h))
        for i in range(1, k + 1):
            x, u = h @ W.T + a, uniforms(len(h), V, i, VISIBLE)
            v = (u < expit(x)).astype(float) if z is None else x + ndtri(u + 2.0**-25) / np.sqrt(s)
            hk = expit((v * s) @ W + b)
            h = (uniforms(len(h), H, i, HIDDEN) < hk).astype(float)
        if method == "pcd":
            chains = h

        G = (v0 * c[:, None]).T @ h0 - (v * negative[:, None]).T @ hk
        dW, da, db = G * s[:, None], (c @ v0 - negative @ v) * s, c @ h0 - negative @ hk
        if z is not None:
            dz = s * ((c @ (v0 - a) ** 2 - negative @ (v - a) ** 2) / 2 - (W * G).sum(1))
        decay = 0.0 if step == 0 else 0.99
        lam = decay * lam + (1 - decay) * (c @ h0)
        push = cost * (target - lam) if target is not None else np.zeros(H)
        if centering:
            dW = dW - np.outer(mu * s, db) - np.outer(da, lam)
        dW = dW + np.outer(mu * s, push) - l2 * W - l1 * np.sign(W)
        vW, va, vb = (
            momentum * vW + rate * dW,
            momentum * va + rate * da,
            momentum * vb + rate * (db + push),
        )
        W, a, b = W + vW, a + va, b + vb
        if centering:
            a, b = a - vW @ lam, b - vW.T @ (mu * s)
        if z is not None and learn_sigma:
            vz = momentum * vz + rate * dz
            z = np.clip(z + vz, -7, 4)
        step += k + 1
    out = [W.ravel(), a, b] + ([] if z is None else [z])
    return np.concatenate(out), chains


TWIN_CASES = {
    "plain": {},
    "k3": {"k": 3},
    "momentum": {"momentum": 0.8},
    "decay": {"l2": 0.3, "l1": 0.2, "momentum": 0.5},
    "centering": {"centering": True},
    "centering-momentum-decay": {"centering": True, "momentum": 0.6, "l2": 0.1, "l1": 0.05, "k": 2},
    "sparsity": {"target": 0.1, "cost": 0.7},
    "everything": {
        "centering": True,
        "target": 0.2,
        "cost": 0.5,
        "momentum": 0.3,
        "l2": 0.01,
        "k": 2,
        "weighted": True,
    },
    "weighted": {"weighted": True},
}


@pytest.mark.parametrize("gaussian", [False, True], ids=["bernoulli", "gaussian"])
@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("case", TWIN_CASES)
def test_training_equals_its_numpy_twin(case, method, gaussian):
    """Same uniforms, hence same samples: parameters agree to rounding after 4 mini-batches."""
    options = dict(TWIN_CASES[case])
    weighted = options.pop("weighted", False)
    exact = Exact(37, 35, seed=25, scale=0.1, gaussian=gaussian)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(38, 37)) if gaussian else random_binary(38, 37, 1)
    weight = rng.integers(0, 4, 38).astype(float) if weighted else None
    rate = 0.01 if gaussian else 0.1
    model = exact.install(
        uf.RBM(
            method=method,
            k=options.get("k", 1),
            visible="gaussian" if gaussian else "bernoulli",
            batch_size=10,
            learning_rate=rate,
            momentum=options.get("momentum", 0.0),
            weight_decay=options.get("l2", 0.0),
            l1=options.get("l1", 0.0),
            centering=options.get("centering", False),
            sparsity_target=options.get("target"),
            sparsity_cost=options.get("cost", 0.1),
        )
    )
    model._data_mean = X.mean(0)
    chains = (rng.random((10, 35)) < 0.5).astype(float)
    model.h_samples_ = chains.copy()
    model._train_rows(X, np.arange(38), weight, 0, 10)
    expected, expected_chains = twin(
        exact,
        X,
        seed=model._seed,
        batch_size=10,
        rate=rate,
        method=method,
        weight=weight,
        chains=chains,
        **options,
    )
    # Gaussian draws go through a single-precision quantile function
    tolerance = {"rtol": 1e-5, "atol": 2e-6} if gaussian else {"rtol": 1e-11, "atol": 1e-13}
    assert_allclose(parameters(model, variance=gaussian), expected, **tolerance)
    if method == "pcd":
        assert_array_equal(model.h_samples_, expected_chains)
    assert (
        np.abs(parameters(model, gaussian) - parameters(exact.install(uf.RBM()), gaussian)).max()
        > 1e-3
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_is_passes_of_the_twin_over_shuffled_rows(dtype):
    X = random_binary(53, 20, 6).astype(dtype)
    model = uf.RBM(9, batch_size=8, n_iter=1, random_state=4, shuffle=False).fit(X)
    start = Exact(20, 9)
    rng = np.random.RandomState(4)
    start.W = rng.normal(0, 0.01, (9, 20)).astype(dtype).T.astype(float)
    start.a, start.b = np.zeros(20), np.zeros(9)
    expected, chains = twin(
        start, X.astype(float), seed=model._seed, batch_size=8, rate=0.1, chains=np.zeros((8, 9))
    )
    assert_allclose(parameters(model), expected, atol=1e-13 if dtype is np.float64 else 1e-6)
    assert_array_equal(model.h_samples_, chains)


# ------------------------------------------------------------------------------ terms one by one


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_centred_gradient_is_its_formula(visible):
    """From the plain update with the same draws: dW_c = dW - mu dh' - dv lambda' and so on."""
    exact = Exact(7, 5, seed=26, gaussian=visible == "gaussian")
    X = (
        np.random.default_rng(3).normal(size=(40, 7))
        if exact.z is not None
        else random_binary(40, 7, 2)
    )
    rate = 1e-3

    def update(centering):
        model = exact.install(
            uf.RBM(
                method="cd",
                visible=visible,
                learning_rate=rate,
                centering=centering,
                learn_sigma=False,
            )
        )
        model._data_mean = X.mean(0)
        change = update_of(model, X, rate)
        return change[:35].reshape(7, 5), change[35:42], change[42:]

    dW, dv, dh = update(False)
    s = np.ones(7) if exact.z is None else np.exp(-exact.z)
    mu, lam = X.mean(0) * s, exact.hidden_mean(X).mean(0)
    dWc = dW - np.outer(mu, dh) - np.outer(dv, lam)
    got = update(True)
    assert_allclose(got[0], dWc, atol=1e-10)
    assert_allclose(got[1], dv - dWc @ lam, atol=1e-10)
    assert_allclose(got[2], dh - dWc.T @ mu, atol=1e-10)
    assert np.abs(dWc - dW).max() > 1e-2


@pytest.mark.parametrize(("l2", "l1"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_weight_decay_is_exact(l2, l1, dtype):
    exact = Exact(9, 6, seed=27)
    exact.W[2, 3] = 0.0  # the sign of nothing is nothing
    X = random_binary(20, 9, 3).astype(dtype)

    def after(**decay):
        model = exact.install(uf.RBM(learning_rate=0.1, **decay), dtype)
        return parameters(model.partial_fit(X))

    plain, decayed = after(), after(weight_decay=l2, l1=l1)
    expected = np.zeros_like(plain)
    expected[:54] = (-0.1 * (l2 * exact.W + l1 * np.sign(exact.W))).ravel()
    assert_allclose(decayed - plain, expected, atol=1e-14 if dtype is np.float64 else 1e-6)


def test_momentum_keeps_the_last_step():
    """Without any further gradient (weightless rows) parameters rest; with it the step adds up."""
    exact = Exact(9, 6, seed=28)
    X = random_binary(10, 9, 4)
    steps = {}
    for momentum in (0.0, 0.9):
        model = exact.install(uf.RBM(method="cd", momentum=momentum))
        positions = [parameters(model)]
        for _ in range(2):
            model.partial_fit(X)
            positions.append(parameters(model))
        steps[momentum] = np.diff(positions, axis=0)
    assert_allclose(steps[0.9][0], steps[0.0][0], rtol=1e-12)
    # both runs stood at the same place with the same draws before the second step
    assert_allclose(steps[0.9][1], steps[0.0][1] + 0.9 * steps[0.0][0], rtol=1e-10, atol=1e-12)


def test_variance_gradient_uses_the_parameters_before_the_step():
    """One CD step with a large rate: every gradient is taken at the same point."""
    exact = Exact(6, 4, seed=29, scale=0.3, gaussian=True)
    X = np.random.default_rng(5).normal(size=(8, 6))
    small, large = 1e-7, 0.5
    updates = {}
    for rate in (small, large):
        model = exact.install(uf.RBM(method="cd", visible="gaussian", learning_rate=rate))
        updates[rate] = update_of(model, X, rate, variance=True)
    inside = np.abs(exact.z + large * updates[small][-6:]) < 4
    assert inside.any()
    assert_allclose(updates[large][:-6], updates[small][:-6], atol=1e-6)
    assert_allclose(updates[large][-6:][inside], updates[small][-6:][inside], atol=1e-6)


def test_variances_are_bounded_and_can_stay_fixed():
    exact = Exact(3, 2, seed=34, scale=0.0, gaussian=True)
    exact.a[:], exact.z[:] = 0.0, (-6.99, 3.99, 0.0)
    X = np.zeros((8, 3))
    X[:, 1] = np.tile([-30.0, 30.0], 4)  # the first is far too narrow, the second far too wide
    model = exact.install(uf.RBM(visible="gaussian", method="cd", learning_rate=0.5)).partial_fit(X)
    assert model.log_variance_[0] == -7
    assert model.log_variance_[1] == 4
    assert -7 < model.log_variance_[2] < 0
    fixed = exact.install(uf.RBM(visible="gaussian", learn_sigma=False, learning_rate=0.1))
    assert_array_equal(fixed.partial_fit(X).log_variance_, exact.z)


def test_gaussian_training_finds_the_variances():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(2000, 4)) * [0.5, 0.7, 1.0, 1.4] + [0.3, -0.2, 0.0, 0.5]
    model = uf.RBM(
        1,
        visible="gaussian",
        learning_rate=[0.02] * 20 + [0.003] * 20,
        n_iter=40,
        batch_size=100,
        random_state=0,
    ).fit(X)
    v = model.sample(20_000, steps=100)
    assert_allclose(v.mean(0), X.mean(0), atol=0.1)
    assert_allclose(v.std(0), X.std(0), rtol=0.1)


def test_sparsity_target_is_reached():
    X = random_binary(500, 20, 8)
    rate = [0.1] * 20 + [0.01] * 10
    common = {"n_iter": 30, "batch_size": 20, "random_state": 0, "learning_rate": rate}
    sparse = uf.RBM(12, sparsity_target=0.1, sparsity_cost=3.0, **common).fit(X)
    plain = uf.RBM(12, **common).fit(X)
    activity = sparse.transform(X).mean(0)
    assert_allclose(activity, 0.1, atol=0.08)
    assert activity.mean() == pytest.approx(0.1, abs=0.04)
    assert np.abs(plain.transform(X).mean(0) - 0.1).max() > 0.2


def ranked(h, axis):
    return h.argsort(axis=axis, kind="stable").argsort(axis=axis)


def test_selective_activities_stand_for_those_of_the_data():
    """The update differs by the targets' part of the data's side, and by nothing else."""
    exact, rate, target, cost = Exact(11, 7, seed=31), 1e-3, 0.2, 0.3
    X = random_binary(12, 11, 9)

    def after(**options):
        model = exact.install(uf.RBM(learning_rate=rate, method="pcd", **options))
        model._data_mean = X.mean(0)
        return model.partial_fit(X)

    plain, biased = after(), after(selectivity_target=target, selectivity_cost=cost)
    h = exact.hidden_mean(X)
    wanted = ((ranked(ranked(h, 1), 0) + 0.5) / 12) ** (1 / target - 1)
    pull = rate * cost * (wanted - h)
    assert_allclose(biased.components_ - plain.components_, pull.T @ X / 12, atol=1e-14)
    difference = biased.intercept_hidden_ - plain.intercept_hidden_
    assert_allclose(difference, pull.mean(0), atol=1e-14)
    assert_array_equal(biased.intercept_visible_, plain.intercept_visible_)


def test_units_become_selective_and_rows_sparse():
    """Few rows excite a unit, and few units a row: a target of the mean alone gives the first."""
    rng = np.random.default_rng(3)
    parts = random_binary(8, 20, 8)  # rows are mixtures of these
    X = np.maximum(parts[rng.integers(8, size=600)], parts[rng.integers(8, size=600)] * 0.2)
    X = (rng.random(X.shape) < 0.1 + 0.8 * X).astype(float)
    common = {"n_iter": 40, "batch_size": 100, "random_state": 0, "learning_rate": 0.1,
              "method": "cd"}  # fmt: skip

    def sparseness(h, axis):
        """1 - mean^2 / mean of squares: 0 where all are alike, 1 where one is on (E. T. Rolls)."""
        return (1 - h.mean(axis) ** 2 / (h**2).mean(axis)).mean()

    plain = uf.RBM(30, **common).fit(X).transform(X)
    by_mean = uf.RBM(30, sparsity_target=0.1, sparsity_cost=0.5, **common).fit(X).transform(X)
    both = {
        cost: uf.RBM(30, selectivity_target=0.1, selectivity_cost=cost, **common)
        .fit(X)
        .transform(X)
        for cost in (0.2, 0.6)
    }
    assert by_mean.mean() < plain.mean() - 0.05
    assert sparseness(by_mean, 0) > sparseness(plain, 0) + 0.05
    for axis in (0, 1):
        found = [sparseness(h, axis) for h in (plain, both[0.2], both[0.6])]
        assert found[0] + 0.05 < found[1] < found[2]
    assert both[0.6].mean() == pytest.approx(0.1, abs=0.05)
    # and almost every row still excites some unit
    assert (both[0.6].max(axis=1) > 0.2).mean() > 0.9


@pytest.mark.parametrize("centering", [False, True])
def test_a_weight_of_two_is_a_row_twice(centering):
    """PCD's model part does not depend on the rows: the same chains, so equal to rounding."""
    exact = Exact(11, 7, seed=30)
    X = random_binary(12, 11, 9)
    weight = np.array([2, 1, 1, 3, 0, 1, 2, 1, 1, 1, 0, 4.0])
    repeated = np.repeat(X, weight.astype(int), axis=0)

    def after(rows, **fit):
        model = exact.install(uf.RBM(method="pcd", centering=centering))
        model._data_mean = repeated.mean(0)
        return parameters(model.partial_fit(rows, **fit))

    weighted = after(X, row_weight=weight)
    assert_allclose(weighted, after(repeated), atol=1e-14)
    assert np.abs(weighted - after(X)).max() > 1e-3
    # only ratios of weights matter
    assert_allclose(weighted, after(X, row_weight=weight * 7), atol=1e-14)


def test_mini_batches_of_zero_weight_teach_nothing():
    exact = Exact(11, 7, seed=31)
    X = random_binary(15, 11, 0)
    weight = np.repeat([1.0, 0.0, 1.0], 5)

    def after(count):
        model = exact.install(uf.RBM(method="cd"))
        model._train_rows(X, np.arange(count), weight, 0, 5)
        return parameters(model)

    assert_array_equal(after(5), after(10))
    assert not np.array_equal(after(10), after(15))
    with pytest.raises(ValueError, match="weight"):
        uf.RBM(3).fit(X, row_weight=np.zeros(15))


# ------------------------------------------------------------------------------ CSR, bfloat16, ISAs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "pcd"},
        {"method": "cd", "k": 2},
        {"method": "cd", "momentum": 0.5, "weight_decay": 0.01},
        {"method": "pcd", "centering": True, "sparsity_target": 0.1},
        {"method": "cd", "precision": "bfloat16"},
        {"method": "cd", "precision": "int16"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("values", ["binary", "counts"])
def test_csr_training_is_bitwise_dense_training(values, options, dtype):
    if options.get("precision") in ("bfloat16", "int16") and dtype is np.float64:
        pytest.skip("computes on float32")
    rng = np.random.default_rng(10)
    X = rng.random((60, 300)) < 0.06
    if values == "counts":  # some mini-batches happen to be binary
        X = X * np.where(np.arange(60) < 30, 1, rng.integers(1, 4, (300, 60))).T / 3
        X[:30] *= 3
    X[7] = 0  # an empty row
    X = X.astype(dtype)
    weight = rng.uniform(0, 2, 60)
    model = uf.RBM(45, n_iter=3, batch_size=16, random_state=0, learning_rate=0.05, **options)
    dense = model.fit(X, row_weight=weight)
    got = parameters(dense), dense.h_samples_, dense.transform(X)
    sparse = model.fit(sp.csr_array(X), row_weight=weight)
    assert_array_equal(parameters(sparse), got[0])
    assert_array_equal(sparse.h_samples_, got[1])
    assert_array_equal(sparse.transform(sp.csr_array(X)), got[2])
    assert np.abs(got[0]).max() > 0.02


def test_csr_gaussian_training_is_refused_or_right():
    """The variance's gradient needs dense rows; whatever the class says, no silent nonsense."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(60, 30)) * (rng.random((60, 30)) < 0.3)
    model = uf.RBM(8, visible="gaussian", method="cd", learning_rate=0.01, n_iter=3, random_state=0)
    expected = parameters(model.fit(X), variance=True)
    try:
        model.fit(sp.csr_array(X))
    except (TypeError, ValueError):
        return
    assert_allclose(parameters(model, variance=True), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduced", ["bfloat16", "int16"])
def test_reduced_precision_is_close_to_float32(reduced):
    exact = Exact(100, 60, seed=32, scale=0.1)
    X = random_binary(50, 100, 10).astype(np.float32)
    models = {
        precision: exact.install(uf.RBM(precision=precision, method="cd"), np.float32)
        for precision in ("float32", reduced)
    }
    full, half = (models[p].transform(X) for p in ("float32", reduced))
    if reduced == "int16":  # results are computed with the weights themselves
        np.testing.assert_array_equal(full, half)
    else:
        # each product is off by 2^-9 of its size at most, a sum of 100 by far less than 100 times
        assert 0 < np.abs(full - half).max() < 0.01
    changes = {p: update_of(m, X, 0.1) for p, m in models.items()}
    error = changes[reduced] - changes["float32"]
    # a few samples fall on the other side of a rounded probability
    assert 0 < np.linalg.norm(error) < 0.2 * np.linalg.norm(changes["float32"])
    assert models[reduced].components_.dtype == np.float32


@pytest.mark.parametrize("reduced", ["bfloat16", "int16"])
def test_reduced_precision_learns_as_well_as_float32(reduced):
    scores = {}
    for precision in ("float32", reduced):
        rng = np.random.default_rng(0)
        prototypes = rng.random((5, 14)) < 0.5
        X = prototypes[rng.integers(0, 5, 1000)] ^ (rng.random((1000, 14)) < 0.05)
        model = uf.RBM(
            10, method="cd", precision=precision, n_iter=30, batch_size=20, random_state=0
        )
        scores[precision] = model.fit(X.astype(np.float32)).log_likelihood(X, "exact").value
    independent = -14 * np.log(2)
    assert scores["float32"] > independent + 2
    assert abs(scores[reduced] - scores["float32"]) < 0.1
