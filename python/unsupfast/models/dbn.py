"""Deep belief network."""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..io import load_state, model_from_state, model_name, register_model, save_model
from ..training import DivergenceError, Event
from ._arguments import (
    check_bool,
    check_callables,
    check_integer,
    check_option,
    check_path,
    check_widths,
    checked_rows,
)
from ._dbn_layers import DBNLayers
from ._greedy import Sampled, coded, train_layers
from ._rbm_core import seed_from
from ._saved import Saved
from ._stream import MappedStream, is_stream
from ._wake_sleep import WakeSleep
from .rbm import RBM

__all__ = ["DBN"]


class DBN(Saved, DBNLayers):
    """Deep belief network: restricted Boltzmann machines stacked one by one [1]_.

    The lowest machine is trained on X, every other one on the hidden activities of the one below.
    Together they are a generative model: the top machine, whose visible layer is the top but one
    layer of hidden units, and directed layers down to the data.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(500, 500, 2000)
    rbm : RBM, sequence of RBM, or None, default=None
        The machines, with their own rates, epochs and units; copied, with the layer's width and a
        seed of the layer's. One stands for every layer; above the lowest, its visible units are
        Bernoulli, as the hidden units below are. None: :class:`unsupfast.RBM` with the parameters
        ``visible`` to ``device`` below, which are not used otherwise.
    activities : {"mean", "sample"}, default="mean"
        What a layer is trained on: the mean activities of the one below, or binary states drawn
        from those of all layers below, anew in every epoch. States are what the likelihood speaks
        of, and binary units train fastest on them; means are less noisy and make better features.
        States are shuffled as streams are, and no rows can be held out of them.
    init : {"random", "transposed"}, default="random"
        Where layers above the lowest start. "transposed": from the transposed weights of the layer
        below, at which the likelihood of the network is that of the layers below alone [1]_;
        hidden units beyond the visible ones of the layer below start at random. Needs Bernoulli
        units and layers no narrower than those two below (than X, for the second).
    labels : bool, default=False
        Join the labels y to the visible layer of the top machine, one unit a class: `fit` then
        needs y, and the network can predict and draw from a class.
    visible, learning_rate, batch_size, n_iter, method, k, momentum, weight_decay, precision, device
        As for :class:`unsupfast.RBM`, of every layer; ``visible`` of the lowest one. Defaults:
        "bernoulli", 0.1, 100, 10 (epochs per layer), "cd", 1, 0.5, 0.0, "auto", "auto".
        :meth:`up_down` trains on the CPU.
    callbacks : iterable of callable or None, default=None
        Each is called with an :class:`unsupfast.Event` after every epoch of every layer; its
        metrics begin with ``layer``, from 1. Returning True ends the layer.
    checkpoint : path or None, default=None
        File to write the whole state of training to, every ``checkpoint_every`` epochs of a layer.
    checkpoint_every : int, default=1
    resume : path or None, default=None
        A checkpoint to continue from: the result is bitwise that of an uninterrupted run.
    verbose : int, default=0
        As for RBM.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    layers_ : list of RBM
        The machines, from the lowest: recognition goes up through them.
    generative_layers_ : list of RBM
        What generation goes down through: the same machines, until :meth:`up_down` unties all but
        the top one.
    history_ : list of dict
        ``history_`` of every layer.
    classes_ : ndarray of shape (n_classes,)
        With ``labels=True``.
    n_features_in_ : int

    Notes
    -----
    An array, memory-mapped file or CSR matrix is read by the lowest layer as it is; of the
    activities, those of one layer are in memory at a time, and of the next while they are made. An
    iterable of batches is never in memory: layers above recompute what they are trained on.

    References
    ----------
    .. [1] G. Hinton, S. Osindero, Y. Teh. "A fast learning algorithm for deep belief nets". Neural
           Computation 18, 2006.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).random((100, 8), dtype=np.float32)
    >>> dbn = uf.DBN((6, 4), n_iter=2, random_state=0).fit(X)
    >>> dbn.transform(X).shape, dbn.transform(X, layer=1).shape, dbn.sample(3, 10).shape
    ((100, 4), (100, 6), (3, 8))
    """

    def __init__(
        self,
        hidden_layer_sizes=(500, 500, 2000),
        *,
        rbm=None,
        activities="mean",
        init="random",
        labels=False,
        visible="bernoulli",
        learning_rate=0.1,
        batch_size=100,
        n_iter=10,
        method="cd",
        k=1,
        momentum=0.5,
        weight_decay=0.0,
        precision="auto",
        device="auto",
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rbm = rbm
        self.activities = activities
        self.init = init
        self.labels = labels
        self.visible = visible
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.method = method
        self.k = k
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        widths = check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        check_option(self, "activities", ("mean", "sample"))
        check_option(self, "init", ("random", "transposed"))
        check_bool(self, "labels")
        check_integer(self, "checkpoint_every", 1)
        check_path(self, "checkpoint")
        check_path(self, "resume")
        check_callables(self, "callbacks")
        if isinstance(self.rbm, (list, tuple)):
            if len(self.rbm) != len(widths):
                raise ValueError(
                    f"rbm has {len(self.rbm)} machines for the {len(widths)} layers of "
                    f"hidden_layer_sizes={widths}"
                )
            given = self.rbm
        else:
            given = () if self.rbm is None else (self.rbm,)
        for rbm in given:
            if not isinstance(rbm, RBM):
                raise TypeError(f"rbm is {self.rbm!r}; expected RBM, a sequence of RBM, or None")
        machines = self._machines()
        for rbm in machines:
            rbm._check_parameters()
        for rbm in machines:
            if rbm.hidden != "bernoulli":
                raise ValueError(f"rbm: {rbm!r} has hidden={rbm.hidden!r}; expected 'bernoulli'")
        above = machines if self.labels and len(machines) == 1 else machines[1:]
        for rbm in above:
            if rbm.visible != "bernoulli":
                raise ValueError(
                    f"rbm: {rbm!r} has visible={rbm.visible!r} above hidden units or labels, which "
                    "are 'bernoulli'"
                )

    def _machines(self) -> list[RBM]:
        """The machine of every layer, to be fitted."""
        widths = check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        if isinstance(self.rbm, (list, tuple)):
            machines = [clone(rbm) for rbm in self.rbm]
        else:
            names = (
                "visible", "learning_rate", "batch_size", "n_iter", "method", "k", "momentum",
                "weight_decay", "precision", "device",
            )  # fmt: skip
            one = self.rbm or RBM(**{name: getattr(self, name) for name in names})
            machines = [clone(one) for _ in widths]
            for rbm in machines[1:]:
                rbm.set_params(visible="bernoulli")
        for rbm, width in zip(machines, widths, strict=True):
            rbm.set_params(n_components=width, checkpoint=None, resume=None)
            rbm.set_params(verbose=max(rbm.verbose, self.verbose))
        return machines

    # ------------------------------------------------------------------ training

    def fit(self, X, y=None):
        """Train the layers, from the lowest to the top.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or iterable of those
            As for :meth:`unsupfast.RBM.fit`.
        y : array-like of shape (n_samples,) or None, default=None
            Labels for ``labels=True``; ignored otherwise.

        Returns
        -------
        self : DBN
            Also an interrupted `fit` leaves a valid network, of the layers it had begun.

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If a parameter stops being finite; the state before that epoch is kept.
        """
        self._check_parameters()
        machines = self._machines()
        if is_stream(X):
            self._check_stream(X, machines)
        else:
            X = checked_rows(self, X, machines[0]._input_dtypes(), reset=True)
        if self.labels:
            y = self._checked_labels(y, X.shape[0])
            self.classes_ = np.unique(y)
        self._seed = seed_from(check_random_state(self.random_state))
        self.layers_: list[RBM] = []
        self._finished, self._untied = 0, None
        if self.resume is not None:
            self._resume(self.resume, machines)
        targets = (y[:, None] == self.classes_).astype(X.dtype) if self.labels else None
        self._train(machines, X, targets)
        return self

    def _check_stream(self, X: Any, machines: list[RBM]) -> None:
        if self.labels:
            raise ValueError("labels=True needs rows with labels; X is an iterable of batches")
        if iter(X) is X and len(machines) > 1:
            raise ValueError(
                f"X is an iterator, which can be read once only, but {len(machines)} layers are to "
                "be trained; expected an iterable that can be read again"
            )

    def _train(self, machines: list[RBM], X: Any, targets: np.ndarray | None) -> None:
        joined = 0 if targets is None else targets.shape[1]
        top = len(machines) - 1

        def fit(i: int, rows: Any) -> None:
            if i < self._finished:
                return
            if i == top == 0 and targets is not None:
                rows = (sp.hstack if sp.issparse(rows) else np.hstack)([rows, targets])

            if i and self.activities == "sample" and machines[i].precision == "auto":
                # batches of streams are float32, which holds states, but not parameters
                machines[i].set_params(precision=self.layers_[0].components_.dtype.name)

            def inputs(passes: int = 0) -> Any:
                if i == 0 or self.activities == "mean":
                    return rows
                return self._drawn(i, rows, passes, joined if i < top else 0)

            self._fit_layer(i, machines[i], inputs)

        def code(i: int, rows: Any) -> Any:
            sampled = self.activities == "sample"
            if i and sampled:
                return rows  # the activities of the lowest layer, from which all states are drawn
            extra = joined if sampled or i + 1 == top else 0
            rows = coded(rows, self.layers_[i].transform, extra)
            if extra:
                rows[:, -extra:] = targets
            return rows

        train_layers(len(machines), X, fit, code)

    def _drawn(self, i: int, rows: Any, passes: int, dropped: int) -> Any:
        """Binary states of the layer below layer i, and of what is beside them."""
        for j in range(i):
            if j:
                rows = MappedStream(rows, partial(self._up_beside, j))
            rows = Sampled(rows, [self._seed, 5, i, j], passes)
        return MappedStream(rows, lambda part: part[:, :-dropped]) if dropped else rows

    def _up_beside(self, j: int, rows: np.ndarray) -> np.ndarray:
        rbm = self.layers_[j]
        n = rbm.components_.shape[1]
        if n == rows.shape[1]:
            return rbm.transform(rows)
        return np.hstack([rbm.transform(np.ascontiguousarray(rows[:, :n])), rows[:, n:]])

    def _fit_layer(self, i: int, rbm: RBM, inputs: Any) -> None:
        seed = int(np.random.default_rng([self._seed, 4, i]).integers(2**31))
        own = rbm.callbacks
        rbm.set_params(random_state=seed, callbacks=[*(own or ()), *self._callbacks(i)])
        begun = self.layers_[i] if i < len(self.layers_) else None
        passes = 0 if begun is None else begun.n_iter_
        if begun is None and i and self.init == "transposed":
            begun = self._transposed(i, rbm, inputs())
        self.layers_[i:] = [rbm]
        try:
            if begun is None:
                rbm.fit(inputs())
            else:
                _fit_from(begun, rbm, inputs(passes))
        except BaseException:
            if not hasattr(rbm, "components_"):
                self.layers_.pop()
            raise
        finally:
            rbm.set_params(callbacks=own, resume=None)
            if self.layers_ and not hasattr(self, "n_features_in_"):
                self.n_features_in_ = self.layers_[0].n_features_in_
        self._finished = i + 1

    def _callbacks(self, i: int) -> list[Any]:
        def save(event: Event) -> None:
            if event.epoch % self.checkpoint_every == 0:
                save_model(self, self.checkpoint)

        def tell(callback: Any, event: Event) -> Any:
            metrics = {"layer": float(i + 1), **event.metrics}
            return callback(Event(self, event.epoch, metrics))

        told = [partial(tell, callback) for callback in self.callbacks or ()]
        return told if self.checkpoint is None else [save, *told]

    def _transposed(self, i: int, rbm: RBM, rows: Any) -> RBM:
        """The machine that layer i starts from with ``init="transposed"``."""
        below = self.layers_[i - 1]
        hidden, visible = below.components_.shape
        if below.visible != "bernoulli" or rbm.n_components < visible:
            raise ValueError(
                f"init='transposed' needs Bernoulli units and hidden_layer_sizes[{i}] of at least "
                f"{visible}, the width two layers below; it is {rbm.n_components}, above visible="
                f"{below.visible!r}"
            )
        start = clone(rbm).set_params(n_iter=0, callbacks=None).fit(rows)
        start.components_[:visible, :hidden] = below.components_.T
        start.intercept_hidden_[:visible] = below.intercept_visible_
        start.intercept_visible_[:hidden] = below.intercept_hidden_
        return start

    def _resume(self, path: Any, machines: list[RBM]) -> None:
        tensors, meta, name = load_state(path)
        if name != "DBN":
            raise ValueError(f"resume: {path} holds a model of class {name}; expected DBN")
        before = dict(self.__dict__)
        try:
            self._set_state(tensors, meta)
            if self._untied is not None:
                raise ValueError("it is of up_down, which untied its layers")
            for i, (saved, rbm) in enumerate(zip(self.layers_, machines, strict=False)):
                if saved.components_.shape[0] != rbm.n_components:
                    raise ValueError(
                        f"its layer {i + 1} has {saved.components_.shape[0]} units; expected "
                        f"{rbm.n_components}"
                    )
            for attribute in ("n_features_in_", "classes_"):
                found, expected = getattr(self, attribute, ()), before.get(attribute)
                if expected is not None and not np.array_equal(found, expected):
                    raise ValueError(f"its {attribute} is {found}; expected {expected}")
        except (KeyError, TypeError, ValueError) as error:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise ValueError(f"resume: {path} does not fit this network: {error}") from None

    def up_down(
        self,
        X,
        y=None,
        *,
        learning_rate=0.01,
        k=3,
        momentum=0.0,
        weight_decay=0.0,
        batch_size=100,
        n_iter=10,
        shuffle=True,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
    ):
        """Fine-tune all layers as a generative model, by contrastive wake-sleep [1]_.

        On the ``device`` and in the floating-point type of the machines.

        Below the top, the weights of recognition and of generation are untied. Up: states drawn by
        recognition train the generative weights to predict the layer below. At the top: ``k``
        Gibbs steps, and the update of contrastive divergence; labels are drawn as one softmax.
        Down: states drawn by generation from there train the recognition weights to predict the
        layer above.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or iterable of those
            Values in [0, 1].
        y : array-like of shape (n_samples,) or None, default=None
            Labels, of a network that was trained with them.
        learning_rate : float, sequence, callable or Schedule, default=0.01
            As for :class:`unsupfast.Autoencoder`; of all weights.
        k : int, sequence of int or callable, default=3
            Gibbs steps, by epoch.
        momentum, weight_decay : float, default=0.0
        batch_size : int, default=100
        n_iter : int, default=10
        shuffle : bool, default=True
        callbacks, checkpoint, checkpoint_every, resume
            As for the network, of this training: the file of a checkpoint is its own. Resuming
            needs the network as it was before.

        Returns
        -------
        self : DBN
            With ``up_down_history_``, a list for each of ``epoch``, ``seconds``, ``loss`` (the sum
            of the three), ``wake_loss``, ``sleep_loss`` (cross-entropies, nats per row),
            ``free_energy_difference`` and ``learning_rate``.

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If a parameter stops being finite; the state before that epoch is kept.

        References
        ----------
        .. [1] G. Hinton, S. Osindero, Y. Teh. "A fast learning algorithm for deep belief nets".
               Neural Computation 18, 2006.
        """
        check_is_fitted(self)
        for i, rbm in enumerate(self.layers_):
            if rbm.visible != "bernoulli":
                raise ValueError(
                    f"up_down needs Bernoulli units; layer {i + 1} has visible={rbm.visible!r}"
                )
        trainer = WakeSleep(
            tuple(rbm.components_.shape[0] for rbm in self.layers_),
            self._n_joined,
            k=k,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_iter=n_iter,
            shuffle=shuffle,
            callbacks=callbacks,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            precision=self.layers_[0].components_.dtype.name,
            device=self.layers_[0].device,
            verbose=self.verbose,
            random_state=int(np.random.default_rng([self._seed, 6]).integers(2**31)),
        )
        trainer.start(self.layers_[:-1], self.generative_layers_[:-1], self.layers_[-1])
        trainer._check_parameters()
        if not is_stream(X):
            X = self._validate(X, reset=False)
        targets = self._targets(X, y)
        try:
            if is_stream(X):
                trainer._fit_unlabelled(X)
            else:
                trainer._fit(trainer._validate(X, reset=True), targets)
        except (KeyboardInterrupt, DivergenceError):
            if hasattr(trainer, "network_"):
                self._adopt(trainer)
            raise
        self._adopt(trainer)
        return self

    def _adopt(self, trainer: WakeSleep) -> None:
        """Takes over the parameters, recognition and generation apart."""
        network = trainer.network_
        recognition = [copy.deepcopy(rbm) for rbm in self.layers_]
        generative = [copy.deepcopy(rbm) for rbm in self.generative_layers_[:-1]]
        for rbm, layer in zip(recognition, [*network.recognition, network.top], strict=True):
            rbm.components_ = np.asfortranarray(layer.weight.T)
            rbm.intercept_hidden_ = layer.bias.data.copy()
        for rbm, layer in zip(generative, network.generative, strict=True):
            rbm.components_ = np.asfortranarray(layer.weight)
            rbm.intercept_visible_ = layer.bias.data.copy()
        recognition[-1].intercept_visible_ = network.top_visible.data.copy()
        self.layers_, self._untied = recognition, generative
        self.up_down_history_ = trainer.history_

    @property
    def history_(self) -> list[dict[str, list[float]]]:
        return [rbm.history_ for rbm in self.layers_]

    # ------------------------------------------------------------------ files

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors: dict[str, np.ndarray] = {}

        def parts(prefix: str, machines: Any) -> list[Any]:
            found = []
            for i, rbm in enumerate(machines or ()):
                own, meta = rbm._get_state()
                tensors.update({f"{prefix}.{i}.{name}": a for name, a in own.items()})
                found.append([model_name(rbm), meta])
            return found

        meta: dict[str, Any] = {
            **self._description(),
            "layers": parts("layers", self.layers_),
            "generative": parts("generative", self._untied),
            "finished": self._finished,
            "seed": str(self._seed),
            "n_features": self.n_features_in_,
        }
        if self.labels:
            meta["classes"] = self.classes_.tolist()
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        def machines(prefix: str) -> list[Any]:
            found = []
            for i, (name, state) in enumerate(meta[prefix]):
                start = f"{prefix}.{i}."
                own = {k[len(start) :]: a for k, a in tensors.items() if k.startswith(start)}
                rbm = model_from_state(name, own, state)
                if not isinstance(rbm, RBM):
                    raise ValueError(f"layer {i + 1} is of class {name}; expected RBM")
                found.append(rbm)
            return found

        self.layers_ = machines("layers")
        self._untied = machines("generative") or None
        self._finished, self._seed = int(meta["finished"]), int(meta["seed"])
        self.n_features_in_ = int(meta["n_features"])
        if "classes" in meta:
            self.classes_ = np.array(meta["classes"])
        self._set_names(meta)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = bool(self.labels)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _fit_from(start: RBM, rbm: RBM, X: Any) -> None:
    """Fits a machine from the state of another one of the same shape, through a file of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.safetensors"
        save_model(start, path)
        rbm.set_params(resume=path).fit(X)


register_model(DBN)
