"""Auto-encoders by name: thin faces of :class:`unsupfast.Autoencoder`."""

from __future__ import annotations

from typing import Any

from ..io import register_model
from ..penalties import L1, Contractive, KLSparsity, Masking
from .autoencoder import Autoencoder

__all__ = [
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "SparseAutoencoder",
    "StackedAutoencoder",
]


class DenoisingAutoencoder(Autoencoder):
    """:class:`Autoencoder` that reconstructs clean inputs from corrupted ones.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
    corruption : Masking, SaltPepper or Gaussian, default=Masking(0.3)
        None means the default.
    tied : bool, default=True
    activation, loss, optimizer, learning_rate, weight_decay, batch_size, n_iter : see Autoencoder
    validation_fraction, patience, callbacks : see Autoencoder
    precision, device, verbose, random_state : see Autoencoder

    References
    ----------
    P. Vincent et al. "Extracting and composing robust features with denoising autoencoders". ICML
    2008.
    """

    def __init__(
        self,
        hidden_layer_sizes=(64,),
        *,
        corruption=None,
        tied=True,
        activation="sigmoid",
        loss="auto",
        optimizer="adam",
        learning_rate=0.001,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            hidden_layer_sizes,
            corruption=corruption,
            tied=tied,
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_iter=n_iter,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            precision=precision,
            device=device,
            verbose=verbose,
            random_state=random_state,
        )

    def _plan(self):
        plan = super()._plan()
        if plan["corruption"] is None:
            plan["corruption"] = Masking(0.3)
        return plan


class ContractiveAutoencoder(Autoencoder):
    """:class:`Autoencoder` with a penalty on the Jacobian of its encoder.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
    contraction : float, default=0.1
        Weight of the squared Frobenius norm.
    tied : bool, default=True
    activation, loss, optimizer, learning_rate, weight_decay, batch_size, n_iter : see Autoencoder
    validation_fraction, patience, callbacks : see Autoencoder
    precision, device, verbose, random_state : see Autoencoder

    References
    ----------
    S. Rifai et al. "Contractive auto-encoders: explicit invariance during feature extraction".
    ICML 2011.
    """

    def __init__(
        self,
        hidden_layer_sizes=(64,),
        *,
        contraction=0.1,
        tied=True,
        activation="sigmoid",
        loss="auto",
        optimizer="adam",
        learning_rate=0.001,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            hidden_layer_sizes,
            tied=tied,
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_iter=n_iter,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            precision=precision,
            device=device,
            verbose=verbose,
            random_state=random_state,
        )
        self.contraction = contraction

    def _plan(self):
        return {**super()._plan(), "penalties": (Contractive(self.contraction),)}


class SparseAutoencoder(Autoencoder):
    """:class:`Autoencoder` whose code units are active rarely.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
    target : float or None, default=0.05
        Mean activity wished for, in (0, 1), by a KL penalty. None: an L1 penalty instead.
    sparsity : float, default=0.1
        Weight of the penalty.
    tied : bool, default=False
    activation, loss, optimizer, learning_rate, weight_decay, batch_size, n_iter : see Autoencoder
    validation_fraction, patience, callbacks : see Autoencoder
    precision, device, verbose, random_state : see Autoencoder
    """

    def __init__(
        self,
        hidden_layer_sizes=(64,),
        *,
        target=0.05,
        sparsity=0.1,
        tied=False,
        activation="sigmoid",
        code_activation="sigmoid",
        loss="auto",
        optimizer="adam",
        learning_rate=0.001,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            hidden_layer_sizes,
            tied=tied,
            activation=activation,
            code_activation=code_activation,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_iter=n_iter,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            precision=precision,
            device=device,
            verbose=verbose,
            random_state=random_state,
        )
        self.target = target
        self.sparsity = sparsity

    def _plan(self):
        penalty: Any = (
            L1(self.sparsity) if self.target is None else KLSparsity(self.target, self.sparsity)
        )
        return {**super()._plan(), "penalties": (penalty,)}


class StackedAutoencoder(Autoencoder):
    """:class:`Autoencoder` initialised layer by layer by shallow ones, then trained as a whole.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64, 32)
    pretrain_iter : int, default=10
        Epochs per layer.
    corruption : Masking, SaltPepper, Gaussian or None, default=None
        Given one, this is the stacked denoising auto-encoder.
    tied : bool, default=False
    activation, loss, optimizer, learning_rate, weight_decay, batch_size, n_iter : see Autoencoder
    validation_fraction, patience, callbacks : see Autoencoder
    precision, device, verbose, random_state : see Autoencoder

    References
    ----------
    P. Vincent et al. "Stacked denoising autoencoders". JMLR 11, 2010.
    """

    def __init__(
        self,
        hidden_layer_sizes=(64, 32),
        *,
        pretrain_iter=10,
        corruption=None,
        tied=False,
        activation="sigmoid",
        code_activation=None,
        loss="auto",
        optimizer="adam",
        learning_rate=0.001,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            hidden_layer_sizes,
            pretrain="autoencoder",
            pretrain_iter=pretrain_iter,
            corruption=corruption,
            tied=tied,
            activation=activation,
            code_activation=code_activation,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_iter=n_iter,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            precision=precision,
            device=device,
            verbose=verbose,
            random_state=random_state,
        )


for _class in (
    DenoisingAutoencoder,
    ContractiveAutoencoder,
    SparseAutoencoder,
    StackedAutoencoder,
):
    register_model(_class)
