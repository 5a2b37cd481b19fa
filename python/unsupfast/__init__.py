"""Unsupervised neural networks with hand-written kernels, in scikit-learn's manners."""

from __future__ import annotations

from . import autograd, datasets, filters, latent, nn, ops, optim, plot, units
from ._build import build_info, get_num_threads, set_num_threads
from .io import load
from .models.autoencoder import Autoencoder
from .models.autoencoder_variants import (
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    StackedAutoencoder,
)
from .models.bernoulli import BernoulliRBM
from .models.classifier import StackedAutoencoderClassifier
from .models.classifier_rbm import ClassifierRBM
from .models.conv_rbm import ConvRBM
from .models.dbm import DBM
from .models.dbn import DBN
from .models.dbn_estimators import DBNClassifier, DBNRegressor
from .models.detector import AnomalyDetector
from .models.rbm import RBM
from .models.vae import VAE
from .penalties import L1, Contractive, Gaussian, KLSparsity, Masking, SaltPepper
from .training import DivergenceError, Event

__version__: str = build_info()["version"]

__all__ = [
    "DBM",
    "DBN",
    "L1",
    "RBM",
    "VAE",
    "AnomalyDetector",
    "Autoencoder",
    "BernoulliRBM",
    "ClassifierRBM",
    "Contractive",
    "ContractiveAutoencoder",
    "ConvRBM",
    "DBNClassifier",
    "DBNRegressor",
    "DenoisingAutoencoder",
    "DivergenceError",
    "Event",
    "Gaussian",
    "KLSparsity",
    "Masking",
    "SaltPepper",
    "SparseAutoencoder",
    "StackedAutoencoder",
    "StackedAutoencoderClassifier",
    "__version__",
    "autograd",
    "build_info",
    "datasets",
    "filters",
    "get_num_threads",
    "latent",
    "load",
    "nn",
    "ops",
    "optim",
    "plot",
    "set_num_threads",
    "units",
]
