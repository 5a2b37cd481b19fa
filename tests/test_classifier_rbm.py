"""The classification RBM: exact probabilities and gradients, and the estimator around them."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import special
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

import unsupfast as uf
from unsupfast import units

DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
NAMES = np.array([f"digit {i}" for i in DIGITS.target])
V, H, K = 6, 5, 3
PLAIN = units.Gaussian(standardize=False)  # digits have columns of one value
UNIT = 1e-4  # of what a test of a gradient steps


def tiny(objective="hybrid", seed=0, *, rows=40, visible="bernoulli", **options):
    """A model in float64 with weights that matter, its data, and random classes for them."""
    rng = np.random.default_rng(seed)
    data = {
        "bernoulli": lambda: rng.integers(0, 2, (rows, V)),
        "gaussian": lambda: rng.standard_normal((rows, V)),
        "replicated_softmax": lambda: rng.poisson(1.0, (rows, V)) + np.eye(V)[0],
    }[visible]().astype(np.float64)
    y = rng.integers(0, K, rows)
    settings = {"learning_rate": UNIT, "batch_size": rows, "random_state": seed, "alpha": 0.3}
    kind = PLAIN if visible == "gaussian" else visible
    model = uf.ClassifierRBM(H, objective=objective, visible=kind, **{**settings, **options})
    model.set_params(learning_rate=1e-12).partial_fit(data, y, classes=range(K))
    model.set_params(learning_rate={**settings, **options}["learning_rate"])
    model.components_ = rng.normal(0, 1, (H, V + K))
    model.intercept_hidden_ = rng.normal(0, 1, H)
    model.intercept_visible_ = rng.normal(0, 1, V + K)
    if visible == "gaussian":
        model.log_variance_ = np.r_[rng.normal(0, 0.3, V), np.zeros(K)]
    return model, data, y


PARAMETERS = ("components_", "intercept_hidden_", "intercept_visible_", "log_variance_")


def parameters(model):
    return {name: np.array(getattr(model, name)) for name in PARAMETERS}


def step(model, data, y, **options):
    """What an update adds to the parameters, per unit of the learning rate."""
    before = parameters(model)
    model.partial_fit(data, y, **options)
    return {name: (getattr(model, name) - x) / model.learning_rate for name, x in before.items()}


def states(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def log_joint(theta, data, visible="bernoulli"):
    """log of what p(x, y) is proportional to, by hidden states one by one: rows x classes."""
    w, b, a, z = (theta[name] for name in PARAMETERS)
    h = states(H)
    own = data @ a[:V]
    scaled = data
    if visible == "gaussian":
        scaled = data * np.exp(-z[:V])
        own = -0.5 * ((data - a[:V]) ** 2 * np.exp(-z[:V])).sum(axis=1)
    count = data.sum(axis=1) if visible == "replicated_softmax" else np.ones(len(data))
    energies = (scaled @ w[:, :V].T)[:, None, None] + w[:, V:].T[:, None]  # rows, classes, hidden
    terms = (energies * h[:, None][None, :, 0][:, None]).sum(axis=3)
    terms = terms + count[:, None, None] * (h @ b)
    return own[:, None] + a[V:] + special.logsumexp(terms, axis=2)


def log_conditional(theta, data, y, visible="bernoulli"):
    return special.log_softmax(log_joint(theta, data, visible), axis=1)[np.arange(len(y)), y]


# ---------------------------------------------------------------------- exact


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "replicated_softmax"])
def test_probabilities_are_those_of_enumeration(visible):
    model, data, y = tiny(visible=visible)
    scores = log_joint(parameters(model), data, visible)
    p = special.softmax(scores, axis=1)
    np.testing.assert_allclose(model.predict_proba(data), p, rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba(data), np.log(p), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(data), p.argmax(axis=1))
    # up to a number of the row's
    difference = model.decision_function(data) - scores
    np.testing.assert_allclose(difference - difference[:, :1], 0, atol=1e-10)
    hidden = 0
    fields = data * np.exp(-model.log_variance_[:V]) @ model.components_[:, :V].T
    count = data.sum(axis=1, keepdims=True) if visible == "replicated_softmax" else 1
    for c in range(K):
        x = fields + count * model.intercept_hidden_ + model.components_[:, V + c]
        hidden = hidden + p[:, c : c + 1] * special.expit(x)
    np.testing.assert_allclose(model.transform(data), hidden, rtol=1e-10)
    np.testing.assert_allclose(
        model.free_energy(data, y), -scores[np.arange(len(y)), y], rtol=1e-10
    )
    np.testing.assert_allclose(
        model.free_energy(data), -special.logsumexp(scores, axis=1), rtol=1e-10
    )


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "replicated_softmax"])
@pytest.mark.parametrize("weighted", [False, True])
def test_discriminative_gradient_is_that_of_differences(visible, weighted):
    model, data, y = tiny("discriminative", visible=visible)
    theta = parameters(model)
    weight = np.random.default_rng(5).random(len(y)) if weighted else None
    made = step(model, data, y, row_weight=weight)

    def objective():
        return np.average(log_conditional(theta, data, y, visible), weights=weight)

    learned = [*PARAMETERS] if visible == "gaussian" else [*PARAMETERS[:3]]
    for name in learned:
        numeric, x = np.zeros(theta[name].size), theta[name].reshape(-1)
        for i in range(x.size if name != "log_variance_" else V):
            at, eps = x[i], 1e-5
            x[i] = at + eps
            above = objective()
            x[i] = at - eps
            numeric[i] = (above - objective()) / (2 * eps)
            x[i] = at
        np.testing.assert_allclose(made[name].reshape(-1), numeric, atol=1e-6)
    assert np.abs(made["components_"]).max() > 0.01


def everything():
    """All states of the features with each class, and all states of the features."""
    x = states(V)
    return np.repeat(x, K, axis=0), np.tile(np.arange(K), len(x))


def exact_joint_gradient(theta, data, y, alpha, beta):
    """The gradient of the mean of alpha log p(x, y), or beta log p(x) where y is -1."""

    def statistics(x, p):  # expectations given x and the distribution p of classes
        w, b, _, _ = (theta[name] for name in PARAMETERS)
        h = special.expit((x @ w[:, :V].T + b)[:, None] + w[:, V:].T)  # rows, classes, hidden
        mean = (p[:, :, None] * h).sum(axis=1)
        by_x = np.einsum("bj,bi->bji", mean, x)
        by_y = np.einsum("bc,bcj->bjc", p, h)
        return (np.concatenate([by_x, by_y], axis=2), mean, np.concatenate([x, p], axis=1))

    scores = log_joint(theta, states(V))
    log_p = scores - special.logsumexp(scores)
    p_x = np.exp(special.logsumexp(log_p, axis=1))
    model = statistics(states(V), special.softmax(scores, axis=1))
    q = special.softmax(log_joint(theta, data), axis=1)
    q[y >= 0] = np.eye(K)[y[y >= 0]]
    weight = np.where(y >= 0, alpha, beta)
    return [
        np.tensordot(weight, d, 1) / len(y) - weight.mean() * np.tensordot(p_x, m, 1)
        for d, m in zip(statistics(data, q), model, strict=True)
    ]


@pytest.mark.parametrize("objective", ["joint", "hybrid"])
def test_generative_gradient_is_exact_in_expectation(objective):
    """With chains at the model's distribution, of rows with and without labels."""
    chains = 40_000
    model, data, y = tiny(objective, rows=50, method="pcd", beta=0.7)
    y = np.where(np.arange(50) % 3 == 0, -1, y)
    theta = parameters(model)
    scores = log_joint(theta, states(V))
    p = np.exp(scores - special.logsumexp(scores)).reshape(-1)
    rng = np.random.default_rng(8)
    x, c = (a[rng.choice(len(p), size=chains, p=p)] for a in everything())
    field = x @ theta["components_"][:, :V].T + theta["components_"][:, V + c].T
    field += theta["intercept_hidden_"]
    model.h_samples_ = (rng.random(field.shape) < special.expit(field)).astype(np.float64)
    model.set_params(missing_label=-1)
    made = step(model, data, y)
    alpha = 1.0 if objective == "joint" else 0.3
    expected = exact_joint_gradient(theta, data, y, alpha, 0.7)
    if objective == "hybrid":
        other = tiny("discriminative", rows=50, beta=0.0)[0].set_params(missing_label=-1)
        exact = step(other, data, y)
        expected = [e + exact[name] for e, name in zip(expected, PARAMETERS[:3], strict=True)]
    # a mean of chains is off by at most half a standard deviation of 1 / sqrt(chains): six of them
    bound = 6 * 0.5 / np.sqrt(chains)
    for name, value in zip(PARAMETERS[:3], expected, strict=True):
        np.testing.assert_allclose(made[name], value, atol=bound)
        assert np.abs(value).max() > 5 * bound


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_hybrid_is_the_sum_of_its_parts(method):
    parts = {}
    for objective in ("joint", "discriminative", "hybrid"):
        model, data, y = tiny(objective, method=method, k=2)
        parts[objective] = step(model, data, y)
    for name in PARAMETERS:
        together = parts["discriminative"][name] + 0.3 * parts["joint"][name]
        np.testing.assert_allclose(parts["hybrid"][name], together, atol=1e-9)


@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_joint_training_is_that_of_an_rbm_of_features_and_labels(method, visible, monkeypatch):
    """The same random numbers, and sums over classes that a known label leaves one term of."""
    rows = X[:200].astype(np.float64) if visible == "bernoulli" else X[:200].astype(np.float64) * 3
    y = DIGITS.target[:200]
    options = {"method": method, "n_iter": 3, "learning_rate": 0.02, "momentum": 0.5}
    options |= {"weight_decay": 1e-3, "batch_size": 30, "random_state": 3, "k": 2}
    part = {"bernoulli": units.Bernoulli(), "gaussian": PLAIN}[visible]
    model = uf.ClassifierRBM(20, objective="joint", visible=part, **options).fit(rows, y)
    joined = units.Mixed(((part, 64), (units.Softmax(10), 10)))
    start = type(model)._initial_deviation
    monkeypatch.setattr(uf.RBM, "_initial_deviation", start)
    rbm = uf.RBM(20, visible=joined, **options).fit(np.hstack([rows, np.eye(10)[y]]))
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(model, name), getattr(rbm, name), atol=1e-9)
    assert np.abs(model.components_).max() > 0.1


def test_chains_of_rows_without_labels_start_from_a_label_drawn_given_the_row():
    """A step of CD from a known label or from all of them, weighed, is the same in expectation."""
    repeats = 20_000
    row = states(V)[37:38]

    def fresh():
        return tiny("joint", seed=1, rows=repeats, beta=1.0, missing_label=-1)[0]

    def mean_step(y):
        return step(fresh(), np.repeat(row, repeats, axis=0), np.full(repeats, y))

    p = fresh().predict_proba(row)[0]
    known = [mean_step(c) for c in range(K)]
    free = mean_step(-1)
    for name in PARAMETERS[:3]:
        mixture = sum(weight * part[name] for weight, part in zip(p, known, strict=True))
        np.testing.assert_allclose(free[name], mixture, atol=6 * 0.5 * np.sqrt(2 / repeats))


def test_samples_have_the_conditional_distribution():
    model = tiny()[0]
    n, places = 40_000, 2 ** np.arange(V)
    drawn = model.sample(n, 100, label=1, random_state=7)
    found = np.bincount((drawn @ places).astype(int), minlength=2**V) / n
    p = special.softmax(log_joint(parameters(model), states(V))[:, 1])
    assert (np.abs(found - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-9).all()


def test_sparsity_pulls_hidden_biases():
    plain, data, y = tiny()
    pulled = tiny(sparsity=0.125)[0]
    plain.partial_fit(data, y)
    pulled.partial_fit(data, y)
    np.testing.assert_allclose(pulled.intercept_hidden_, plain.intercept_hidden_ - 0.125 * UNIT)
    np.testing.assert_array_equal(pulled.components_, plain.components_)


def test_fields_that_are_out_of_range_give_no_overflow():
    model, data, _ = tiny()
    model.components_ = 1e3 * model.components_
    p = model.predict_proba(data)
    assert np.isfinite(p).all() and np.isfinite(model.transform(data)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)


# ---------------------------------------------------------------------- the estimator


def digits(**options):
    settings = {"n_components": 60, "n_iter": 15, "learning_rate": 0.1, "random_state": 0}
    return uf.ClassifierRBM(**{**settings, **options})


LEARNED = (*PARAMETERS, "h_samples_")


def assert_same(a, b):
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


VARIANTS = {
    "joint": {"objective": "joint", "n_iter": 30},
    "discriminative": {"objective": "discriminative"},
    "hybrid": {},
    "hybrid-pcd": {"method": "pcd", "momentum": 0.5, "learning_rate": 0.05},
    "adam": {"optimizer": "adam", "learning_rate": 0.003, "clip_norm": 5.0, "max_norm": 10.0},
    "sparse": {"sparsity": 1e-3, "n_components": 90},
    "gaussian": {"visible": PLAIN, "learning_rate": 0.05},
    "bfloat16": {"precision": "bfloat16"},
    "int16": {"precision": "int16"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_learns_digits_and_is_restored(variant, tmp_path):
    rows = X
    if variant == "gaussian":
        rows = ((X - X.mean(axis=0)) / (X.std(axis=0) + 0.1)).astype(np.float32)
    model = digits(**VARIANTS[variant]).fit(rows[:1200], NAMES[:1200])
    assert model.score(rows[1200:], NAMES[1200:]) > 0.86
    assert model.predict_proba(rows).dtype == np.float32
    model.save(tmp_path / "c.safetensors")
    other = uf.load(tmp_path / "c.safetensors")
    assert repr(other) == repr(model)
    assert other.classes_.tolist() == model.classes_.tolist()
    np.testing.assert_array_equal(other.predict_proba(rows), model.predict_proba(rows))
    assert_same(model.partial_fit(X[:50], NAMES[:50]), other.partial_fit(X[:50], NAMES[:50]))


@pytest.mark.parametrize("variant", ["joint", "hybrid-pcd", "gaussian"])
def test_results_do_not_depend_on_threads_or_on_sparsity(variant, threads):
    options = {**VARIANTS[variant], "n_iter": 2, "batch_size": 32}
    made = []
    for count, rows in ((1, X[:300]), (2, X[:300]), (3, sp.csr_matrix(X[:300]))):
        threads(count)
        made.append(digits(**options).fit(rows, NAMES[:300]))
        np.testing.assert_array_equal(made[-1].predict(rows), made[0].predict(X[:300]))
    assert_same(made[0], made[1])
    assert_same(made[0], made[2])


@pytest.mark.parametrize("variant", ["hybrid", "hybrid-pcd", "adam"])
def test_checkpoints(variant, tmp_path):
    path = tmp_path / "c.safetensors"
    rows = X[:300]
    y = np.where(np.arange(300) % 5 == 0, "?", NAMES[:300])
    options = {**VARIANTS[variant], "missing_label": "?", "validation_fraction": 0.2}
    whole = digits(**{**options, "n_iter": 6}).fit(rows, y)
    digits(**{**options, "n_iter": 3, "checkpoint": path}).fit(rows, y)
    rest = digits(**{**options, "n_iter": 6, "resume": path}).fit(rows, y)
    assert_same(whole, rest)
    assert rest.history_["error"] == whole.history_["error"]
    with pytest.raises(ValueError, match="holds a model of the classes"):
        digits(**options, resume=path).fit(rows, np.char.replace(y, "digit 7", "seven"))


def test_early_stopping_keeps_the_best_epoch():
    events = []
    model = digits(
        n_iter=200, validation_fraction=0.2, patience=3, callbacks=[events.append], verbose=0
    ).fit(X[:400], NAMES[:400])
    errors = model.history_["validation_error"]
    assert (
        len(errors) < 200 and model.n_iter_ == 1 + np.argmin(errors) and len(events) == len(errors)
    )
    assert set(model.history_) == {
        "epoch", "seconds", "loss", "error",
        "validation_loss", "validation_error", "validation_score",
    }  # fmt: skip


def test_verbose_prints_what_is_measured(capsys):
    digits(n_iter=1, verbose=1).fit(X[:100], NAMES[:100])
    assert re.match(r"\[ClassifierRBM\] Iteration 1, loss = \d", capsys.readouterr().out)


def test_rows_without_labels_help():
    y = np.where(np.arange(1200) < 60, DIGITS.target[:1200], -1)
    alone = digits(n_iter=300).fit(X[:60], y[:60])
    options = {"beta": 0.1, "learning_rate": 1.2, "batch_size": 20, "missing_label": -1}
    helped = digits(n_iter=200, **options).fit(X[:1200], y)
    assert helped.classes_.tolist() == list(range(10))
    scores = [m.score(X[1200:], DIGITS.target[1200:]) for m in (alone, helped)]
    assert scores[1] > scores[0] + 0.02


@pytest.mark.parametrize(
    "labels",
    [
        np.where(np.arange(90) % 4 == 0, np.nan, DIGITS.target[:90] % 3),
        np.where(np.arange(90) % 4 == 0, None, NAMES[:90]),
        np.where(np.arange(90) % 4 == 0, -1, DIGITS.target[:90]),
    ],
    ids=["nan", "none", "minus-one"],
)
def test_what_stands_for_no_label(labels):
    options = {"n_iter": 2, "objective": "joint"}
    missing = {} if labels.dtype != np.int64 else {"missing_label": -1}
    model = digits(**options, **missing).fit(X[:90], labels)
    known = np.arange(90) % 4 != 0
    assert model.classes_.tolist() == np.unique(labels[known]).tolist()
    # they change the model
    assert not np.array_equal(
        digits(**options).fit(X[:90][known], labels[known]).components_, model.components_
    )
    # and count for nothing where they weigh nothing
    weightless = digits(**options, **missing, beta=0.0, method="pcd", batch_size=90, shuffle=False)
    other = clone(weightless)
    weightless.fit(X[:90], labels, row_weight=np.ones(90))
    rows = np.where(known[:, None], X[:90], X[0])
    np.testing.assert_array_equal(weightless.components_, other.fit(rows, labels).components_)


def test_weights_of_rows():
    rows, y = X[:40], NAMES[:40]
    weight = np.r_[np.ones(30), np.zeros(10)]
    options = {"objective": "discriminative", "batch_size": 40, "n_iter": 5, "shuffle": False}
    one = digits(**options).fit(rows, y, row_weight=weight)
    rows = rows.copy()
    rows[30:] = 0.5
    other = digits(**options).fit(rows, y, row_weight=weight)
    np.testing.assert_array_equal(one.components_, other.components_)


def test_samples_are_of_their_class():
    model = digits(objective="joint", n_iter=60, n_components=100).fit(X, DIGITS.target)
    asked = np.repeat(np.arange(10), 20)
    drawn = model.sample(200, 200, label=asked, mean=True, random_state=1)
    assert drawn.shape == (200, 64)
    judge = digits(objective="discriminative", n_iter=30).fit(X, DIGITS.target)
    assert judge.score(drawn, asked) > 0.8
    assert set(np.unique(model.sample(5, 10, label=3))) <= {0, 1}
    assert model.sample(3, 5).shape == (3, 64)
    rbm = model.as_rbm()
    joined = np.hstack([X, np.eye(10, dtype=np.float32)[DIGITS.target]])
    np.testing.assert_allclose(
        rbm.free_energy(joined), model.free_energy(X, DIGITS.target), rtol=1e-4
    )


def test_partial_fit_and_grid_search():
    model = digits(batch_size=50, learning_rate=0.2)
    for _ in range(20):
        for start in range(0, 1000, 50):
            model.partial_fit(
                X[start : start + 50], NAMES[start : start + 50], classes=np.unique(NAMES)
            )
    assert model.score(X[1200:], NAMES[1200:]) > 0.8
    search = GridSearchCV(digits(n_iter=15), {"objective": ["joint", "discriminative"]}, cv=2)
    assert search.fit(X[:300], NAMES[:300]).best_score_ > 0.5
    assert model.get_feature_names_out().shape == (60,)


FAULTS = [
    ({"objective": "both"}, {}, ValueError, "objective is 'both'; expected one of 'hybrid'"),
    ({"alpha": -0.1}, {}, ValueError, "alpha is -0.1"),
    ({"beta": -1}, {}, ValueError, "beta is -1"),
    ({"sparsity": "low"}, {}, TypeError, "sparsity is 'low'"),
    ({"method": "pt"}, {}, ValueError, "method is 'pt'; expected one of 'cd', 'pcd'"),
    ({"patience": 2}, {}, ValueError, "patience needs validation_fraction"),
    ({"visible": "spin"}, {"X": X + 1}, ValueError, "X has values outside [-1, 1]"),
    ({}, {"y": NAMES[:5]}, ValueError, "y has 5 entries for 1797 rows"),
    ({}, {"y": np.zeros(len(X))}, ValueError, "y has 1 class"),
    ({}, {"y": np.full(len(X), np.nan)}, ValueError, "y has no labels"),
    ({}, {"y": None}, ValueError, "requires y to be passed"),
    ({}, {"y": X[:, 10]}, ValueError, "Unknown label type"),
    ({}, {"X": iter([X])}, ValueError, "X is an iterable of batches"),
    ({}, {"row_weight": -np.ones(len(X))}, ValueError, "row_weight has NaN, infinite or negative"),
    (
        {"objective": "discriminative", "missing_label": "digit 3"},
        {},
        ValueError,
        "y has 183 entries without a label",
    ),
]


@pytest.mark.parametrize("options, arguments, error, message", FAULTS, ids=lambda v: str(v)[:40])
def test_errors_name_the_argument(options, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        digits(**options).fit(**{"X": X, "y": NAMES, **arguments})


def test_errors_of_later_calls():
    with pytest.raises(ValueError, match="classes is None"):
        digits().partial_fit(X, NAMES)
    y = np.where(np.arange(1797) < 3, DIGITS.target, -1)
    with pytest.raises(ValueError, match="which leaves no rows with a label"):
        digits(validation_fraction=0.001, missing_label=-1, beta=1.0).fit(X, y)
    model = digits(n_iter=1).fit(X[:100], NAMES[:100])
    with pytest.raises(ValueError, match="y has the label 'digit x', which is not among"):
        model.partial_fit(X[:2], ["digit x", "digit 1"])
    with pytest.raises(ValueError, match="label has 'digit x'"):
        model.sample(2, label="digit x")


def test_divergence_keeps_the_state_before():
    model = digits(n_iter=3, learning_rate=[0.1, 1e38, 0.1])
    with pytest.raises(uf.DivergenceError, match="after mini-batch"):
        model.fit(X[:100], NAMES[:100])
    assert model.n_iter_ == 1 and np.isfinite(model.components_).all()
