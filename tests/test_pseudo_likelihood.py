"""The pseudo-likelihood of every kind of visible unit with finitely many states, by enumeration."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from test_units import MORE, PAIRS, draws, machine

import unsupfast as uf
from unsupfast.models._pseudo_likelihood import Variables

WITH = ["bernoulli-bernoulli", "spin-spin", "spin-drelu", "softmax-bernoulli", "softmax-drelu",
        "counts-bernoulli", "counts-relu", "bernoulli-mixed", "discrete-bernoulli"]  # fmt: skip


def others(model, v):
    """For every variable of a row: its columns, the states it may have, and which it has."""
    found = []
    for unit, s in model._visible_layer.parts:
        block = v[s]
        if unit.kind == "multinomial":
            eye = np.eye(len(block))
            for word in np.repeat(np.arange(len(block)), block.astype(int)):
                found.append((s, block - eye[word] + eye, word))
            continue
        for at in range(s.start, s.stop, unit.group):
            here = slice(at, at + unit.group)
            if unit.group > 1:
                states = np.eye(unit.group)
            else:
                states = np.array([[-1.0 if unit.kind == "spin" else 0.0], [1.0]])
            found.append((here, states, int(np.flatnonzero((states == v[here]).all(axis=1))[0])))
    return found


def enumerated(model, v):
    """log p of every variable given all others, from free energies alone."""
    out = []
    for columns, states, chosen in others(model, v):
        rows = np.tile(v, (len(states), 1))
        rows[:, columns] = states
        log_p = -model.free_energy(rows)
        out.append(log_p[chosen] - logsumexp(log_p))
    return np.array(out)


@pytest.mark.parametrize("pair", WITH)
def test_every_variable_has_its_conditional_probability(pair):
    model, _ = machine(pair, seed=3)
    X = draws(pair, 12)
    expected = [enumerated(model, v) for v in X]
    exact = model.pseudo_log_likelihood(X, exact=True)
    assert exact == pytest.approx(np.mean([p.sum() for p in expected]), rel=1e-9)
    variables = Variables(model)
    assert_allclose(variables.likelihood(X), [p.sum() for p in expected], rtol=1e-9)
    for i in range(len(expected[0])):
        got = variables.likelihood_of(X, np.full(12, i))
        assert_allclose(got, [len(p) * p[i] for p in expected], rtol=1e-9)
        assert_array_equal(variables.likelihood_of(X, np.full(12, i + 2 * len(expected[0]))), got)
    assert_allclose(variables.likelihood(sp.csr_array(X)), variables.likelihood(X), rtol=1e-12)


def test_flips_are_variables_of_two_states():
    for pair in ("bernoulli-bernoulli", "spin-spin"):
        model, _ = machine(pair, seed=4)
        X = draws(pair, 30)
        feature = np.arange(30) % X.shape[1]
        assert_allclose(
            Variables(model).likelihood_of(X, feature), model._flip_likelihood(X, feature)
        )


@pytest.mark.parametrize("pair", ["softmax-bernoulli", "counts-bernoulli", "discrete-bernoulli"])
def test_scores_estimate_the_exact_pseudo_likelihood(pair):
    model, _ = machine(pair, seed=5)
    X = draws(pair, 40)
    exact = Variables(model).likelihood(X)
    scores = []
    for seed in range(300):
        model.random_state = seed
        scores.append(model.score_samples(X))
    error = np.std(scores, axis=0) / 300**0.5
    assert (np.abs(np.mean(scores, axis=0) - exact) < 5 * error + 1e-9).all()
    # a row's score does not depend on the rows beside it
    assert_allclose(model.score_samples(X[7:9]), scores[-1][7:9], rtol=1e-12)
    assert model.pseudo_log_likelihood(X) == pytest.approx(scores[-1].mean(), rel=1e-12)
    assert_allclose(model.score_samples(sp.csr_array(X)), scores[-1], rtol=1e-12)


def test_shares_of_states_weigh_their_probabilities():
    """A group of data that sums to one without being a choice counts all its states."""
    model, _ = machine("softmax-bernoulli", seed=6)
    X = draws("softmax-bernoulli", 5)
    soft = X.copy()
    soft[:, :3] = [0.5, 0.2, 0.3]
    variables = Variables(model)
    log_p = [variables.likelihood_of(np.hstack([np.tile(e, (5, 1)), X[:, 3:]]), np.zeros(5, int))
             for e in np.eye(3)]  # fmt: skip
    with_soft = variables.likelihood_of(soft, np.zeros(5, int))
    # the rest, that other states leave, is the same
    assert_allclose(with_soft, np.array([0.5, 0.2, 0.3]) @ log_p, rtol=1e-9)


@pytest.mark.parametrize("pair", ["softmax-bernoulli", "counts-bernoulli", "discrete-bernoulli"])
def test_training_reports_and_raises_it(pair, capsys):
    visible, _, hidden, n_hidden = {**PAIRS, **MORE}[pair]
    X = draws(pair, 400)
    model = uf.RBM(
        n_hidden, visible=visible, hidden=hidden, learning_rate=0.02, n_iter=25, batch_size=20,
        validation_fraction=0.25, patience=25, verbose=1, random_state=0,
    ).fit(X)  # fmt: skip
    assert "pseudo-likelihood = " in capsys.readouterr().out
    for name in ("pseudo_log_likelihood", "validation_pseudo_log_likelihood"):
        assert len(model.history_[name]) == 25
    assert model.history_["validation_score"] == model.history_["validation_pseudo_log_likelihood"]
    before = uf.RBM(n_hidden, visible=visible, hidden=hidden, n_iter=0, random_state=0).fit(X)
    after = model.pseudo_log_likelihood(X, exact=True)
    assert after > before.pseudo_log_likelihood(X, exact=True) + 0.1


def test_documents_without_words_have_nothing_to_predict():
    model, _ = machine("counts-bernoulli")
    X = np.array([[0.0, 0, 0, 0], [1, 0, 2, 0]])
    variables = Variables(model)
    for draw in (np.zeros(2, int), np.array([5, 2])):
        assert variables.likelihood_of(X, draw)[0] == 0
    assert variables.likelihood(X)[0] == 0
    assert variables.likelihood(X)[1] < 0
    many = np.array([[3.0, 1, 0, 2]])
    by_word = [variables.likelihood_of(many, np.array([i]))[0] for i in range(6)]
    assert variables.likelihood(many)[0] == pytest.approx(np.mean(by_word), rel=1e-12)


@pytest.mark.parametrize("visible", ["gaussian", "relu", "drelu"])
def test_real_numbers_have_none(visible):
    X = np.abs(np.random.default_rng(0).normal(size=(20, 3)))
    model = uf.RBM(2, visible=visible, learning_rate=0.01, n_iter=1, random_state=0).fit(X)
    assert "pseudo_log_likelihood" not in model.history_
    with pytest.raises(ValueError, match=r"no closed form; use log_likelihood"):
        model.pseudo_log_likelihood(X)
    assert_allclose(model.score_samples(X), -model.free_energy(X))
