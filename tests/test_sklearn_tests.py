"""scikit-learn's own tests of BernoulliRBM, run on ours: its test module, one name replaced."""

import importlib.util

import pytest

import unsupfast as uf

pytest.importorskip("sklearn.neural_network.tests.test_rbm", exc_type=ImportError)
_spec = importlib.util.find_spec("sklearn.neural_network.tests.test_rbm")
_theirs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_theirs)
_theirs.BernoulliRBM = uf.BernoulliRBM
globals().update({k: v for k, v in vars(_theirs).items() if k.startswith("test_")})
