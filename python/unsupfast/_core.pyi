"""
Compiled core of unsupfast.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "ConvOptions",
    "ConvRbm",
    "Dbm",
    "Feed",
    "GpuArray",
    "Graph",
    "PackedProduct",
    "Rbm",
    "Step",
    "TrainOptions",
    "WeightGradient",
    "abs",
    "add",
    "available_isas",
    "build_facts",
    "can_record",
    "catalogue",
    "class_activity",
    "class_scores",
    "class_shares",
    "column_norms",
    "column_sum",
    "conditional",
    "continuous_fourth",
    "continuous_mean",
    "continuous_third",
    "continuous_variance",
    "contraction",
    "contrast_gradient",
    "conv",
    "conv_filters",
    "conv_input",
    "dense",
    "dense_grad",
    "div",
    "draw_states",
    "dropout",
    "exchange_states",
    "exp",
    "gate",
    "get_isa",
    "get_num_threads",
    "gibbs_chain",
    "gpu_full",
    "gpu_synchronize",
    "gpu_zeros",
    "gpus",
    "half_step",
    "latent",
    "latent_grad",
    "likelihood",
    "log",
    "matmul",
    "max",
    "maximum",
    "mean",
    "measure_bandwidth",
    "measure_peak",
    "minimum",
    "momentum_step",
    "mul",
    "neg",
    "outer",
    "pack_bits",
    "pooling_step",
    "positive",
    "power",
    "probit",
    "reciprocal",
    "relu",
    "selective_targets",
    "set_isa",
    "set_num_threads",
    "shape_gradient",
    "share",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "sum",
    "take_rows",
    "tally",
    "tanh",
    "to_gpu",
    "trim_memory",
    "turn_bits",
    "uniforms",
    "unpack_bits",
    "variance_gradient",
    "variances",
    "weigh_annealed",
    "weight_update",
    "where",
]

class GpuArray:
    """
    An array on a GPU.
    """

    __array_ufunc__ = None
    def __add__(self, arg0: typing.Any) -> typing.Any: ...
    def __array__(self, *args, **kwargs) -> typing.Any: ...
    def __dlpack__(self, stream: typing.Any = None, **kwargs) -> typing.Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __float__(self) -> float: ...
    def __getitem__(self, arg0: typing.Any) -> typing.Any: ...
    def __len__(self) -> int: ...
    def __mul__(self, arg0: typing.Any) -> typing.Any: ...
    def __neg__(self) -> typing.Any: ...
    def __radd__(self, arg0: typing.Any) -> typing.Any: ...
    def __reduce__(self) -> tuple: ...
    def __repr__(self) -> str: ...
    def __rmul__(self, arg0: typing.Any) -> typing.Any: ...
    def __rsub__(self, arg0: typing.Any) -> typing.Any: ...
    def __rtruediv__(self, arg0: typing.Any) -> typing.Any: ...
    def __setitem__(self, arg0: typing.Any, arg1: typing.Any) -> None: ...
    def __sub__(self, arg0: typing.Any) -> typing.Any: ...
    def __truediv__(self, arg0: typing.Any) -> typing.Any: ...
    def broadcast_to(
        self, shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]
    ) -> typing.Any:
        """
        A view with axes of one element repeated.
        """
    def contiguous(self) -> typing.Any:
        """
        The array, or a copy in C order.
        """
    def copy(self) -> typing.Any:
        """
        A copy in C order.
        """
    def item(self) -> typing.Any:
        """
        Its one element as a number.
        """
    def numpy(self) -> numpy.ndarray:
        """
        A copy on the CPU.
        """
    def reshape(self, *args) -> typing.Any: ...
    @property
    def T(self) -> typing.Any: ...
    @property
    def __cuda_array_interface__(self) -> dict: ...
    @property
    def dtype(self) -> typing.Any: ...
    @property
    def gpu(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple: ...
    @property
    def size(self) -> int: ...

class Feed:
    """
    Copies to a GPU that travel while it computes.
    """
    def __init__(self, gpu: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def put(self, x: numpy.ndarray) -> typing.Any:
        """
        A copy on the GPU for what is started there before the next put: later ones overwrite it.
        """

class Graph:
    """
    What is done on a GPU from here to finish() is recorded, to be done by replay().
    """
    def __init__(self, gpu: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def finish(self) -> None: ...
    def replay(self) -> None: ...

class PackedProduct:
    """
    A right operand packed once.
    """
    def __init__(
        self, b: numpy.typing.NDArray[typing.Any] | GpuArray, precision: str = "float32"
    ) -> None: ...
    def half_step(
        self,
        a: typing.Any,
        sample: numpy.typing.NDArray[typing.Any] | GpuArray,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        sample[...] = Bernoulli(sigmoid(a b))
        """
    def multiply(self, a: typing.Any, out: numpy.typing.NDArray[typing.Any] | GpuArray) -> None:
        """
        out[...] = a b
        """

class ConvOptions:
    """
    Options of one call of ConvRbm.train.
    """

    persistent: bool
    def __init__(self) -> None: ...
    @property
    def batch_size(self) -> int: ...
    @batch_size.setter
    def batch_size(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def k(self) -> int: ...
    @k.setter
    def k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def l2(self) -> float: ...
    @l2.setter
    def l2(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def learning_rate(self) -> float: ...
    @learning_rate.setter
    def learning_rate(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def momentum(self) -> float: ...
    @momentum.setter
    def momentum(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def sparsity_cost(self) -> float: ...
    @sparsity_cost.setter
    def sparsity_cost(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def sparsity_target(self) -> float: ...
    @sparsity_target.setter
    def sparsity_target(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...

class ConvRbm:
    """
    A convolutional RBM with probabilistic max-pooling.
    """
    def __init__(
        self,
        image: tuple[
            typing.SupportsInt | typing.SupportsIndex,
            typing.SupportsInt | typing.SupportsIndex,
            typing.SupportsInt | typing.SupportsIndex,
        ],
        filters: typing.SupportsInt | typing.SupportsIndex,
        size: tuple[
            typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
        ],
        pool: typing.SupportsInt | typing.SupportsIndex,
        visible: str,
        dtype: str,
        precision: str,
        gpu: typing.SupportsInt | typing.SupportsIndex = -1,
    ) -> None:
        """
        gpu: where it lives (-1: on the CPU).
        """
    def anneal(
        self,
        v: numpy.typing.NDArray[typing.Any] | GpuArray,
        betas: typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        base_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[typing.Any] | GpuArray]:
        """
        (log weights, final states) of annealing along betas.
        """
    def get_chains(self) -> numpy.typing.NDArray[typing.Any] | GpuArray: ...
    def get_parameters(
        self,
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
    ]:
        """
        (filters, visible_bias, hidden_bias)
        """
    def get_state(self) -> dict:
        """
        What training carries from step to step, besides parameters, chains, seed and step.
        """
    def gibbs(
        self,
        v: numpy.typing.NDArray[typing.Any] | GpuArray,
        steps: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray, numpy.typing.NDArray[typing.Any] | GpuArray
    ]:
        """
        (states, conditional means) after `steps` Gibbs steps from v.
        """
    def hidden_given_visible(
        self,
        X: numpy.typing.NDArray[typing.Any] | GpuArray,
        what: str,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> numpy.typing.NDArray[typing.Any] | GpuArray:
        """
        'mean' or 'sample' of detection units, means of pooling units ('pooled'), or 'log_partition'.
        """
    def set_chains(self, chains: numpy.typing.NDArray[typing.Any] | GpuArray) -> None:
        """
        Visible states of persistent chains.
        """
    def set_parameters(
        self,
        filters: numpy.typing.NDArray[typing.Any] | GpuArray,
        visible_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        hidden_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    ) -> None:
        """
        Filters are (filters, height width channels).
        """
    def set_state(self, arg0: dict) -> None: ...
    def train(
        self,
        X: numpy.typing.NDArray[typing.Any] | GpuArray,
        order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
        options: ConvOptions,
        callback: typing.Any = None,
    ) -> typing.Any:
        """
        Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite.
        """
    def visible_given_hidden(
        self,
        H: numpy.typing.NDArray[typing.Any] | GpuArray,
        what: str,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> numpy.typing.NDArray[typing.Any] | GpuArray:
        """
        'mean' or 'sample' of the visible layer given detection units.
        """
    @property
    def gpu(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def step(self) -> int: ...
    @step.setter
    def step(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

class TrainOptions:
    """
    Options of one call of Rbm.train.
    """

    adam: bool
    balanced: bool
    centering: bool
    learn_shape: bool
    learn_sigma: bool
    persistent: bool
    def __init__(self) -> None: ...
    @property
    def base_bias(self) -> list[float]: ...
    @base_bias.setter
    def base_bias(
        self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]
    ) -> None: ...
    @property
    def batch_size(self) -> int: ...
    @batch_size.setter
    def batch_size(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def clip_norm(self) -> float: ...
    @clip_norm.setter
    def clip_norm(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def discriminative(self) -> float: ...
    @discriminative.setter
    def discriminative(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def fast_decay(self) -> float: ...
    @fast_decay.setter
    def fast_decay(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def fast_rate(self) -> float: ...
    @fast_rate.setter
    def fast_rate(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def generative(self) -> float: ...
    @generative.setter
    def generative(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def hidden_pull(self) -> float: ...
    @hidden_pull.setter
    def hidden_pull(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def k(self) -> int: ...
    @k.setter
    def k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def l1(self) -> float: ...
    @l1.setter
    def l1(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def l2(self) -> float: ...
    @l2.setter
    def l2(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def learning_rate(self) -> float: ...
    @learning_rate.setter
    def learning_rate(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def max_norm(self) -> float: ...
    @max_norm.setter
    def max_norm(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def momentum(self) -> float: ...
    @momentum.setter
    def momentum(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def offset(self) -> list[float]: ...
    @offset.setter
    def offset(
        self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]
    ) -> None: ...
    @property
    def scale(self) -> list[float]: ...
    @scale.setter
    def scale(
        self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]
    ) -> None: ...
    @property
    def selectivity_cost(self) -> float: ...
    @selectivity_cost.setter
    def selectivity_cost(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def selectivity_target(self) -> float: ...
    @selectivity_target.setter
    def selectivity_target(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def sparsity_cost(self) -> float: ...
    @sparsity_cost.setter
    def sparsity_cost(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def sparsity_target(self) -> float: ...
    @sparsity_target.setter
    def sparsity_target(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def temperatures(self) -> list[float]: ...
    @temperatures.setter
    def temperatures(
        self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]
    ) -> None: ...
    @property
    def unlabelled(self) -> float: ...
    @unlabelled.setter
    def unlabelled(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...

class Rbm:
    """
    A restricted Boltzmann machine in packed form.
    """
    def __init__(
        self,
        visible: collections.abc.Sequence[
            tuple[
                str,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
        hidden: collections.abc.Sequence[
            tuple[
                str,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
        dtype: str,
        precision: str,
        gpu: typing.SupportsInt | typing.SupportsIndex = -1,
    ) -> None:
        """
        Layers are lists of (kind, units, units of a group); gpu: where it lives (-1: on the CPU).
        """
    def anneal(
        self,
        v: numpy.typing.NDArray[typing.Any] | GpuArray,
        betas: typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        base_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[typing.Any] | GpuArray]:
        """
        (log weights, final states) of annealing along betas.
        """
    def get_chains(self) -> numpy.typing.NDArray[typing.Any] | GpuArray: ...
    def get_parameters(
        self,
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
    ]:
        """
        (components (hiddens, visibles), visible_bias, hidden_bias, log_variance)
        """
    def get_shapes(
        self,
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray, numpy.typing.NDArray[typing.Any] | GpuArray
    ]:
        """
        (visible, hidden)
        """
    def get_state(self) -> dict:
        """
        What training carries from step to step, besides parameters, chains, seed and step.
        """
    def gibbs(
        self,
        v: numpy.typing.NDArray[typing.Any] | GpuArray,
        steps: typing.SupportsInt | typing.SupportsIndex,
        clamp: typing.Any = None,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray, numpy.typing.NDArray[typing.Any] | GpuArray
    ]:
        """
        (states, conditional means) after `steps` Gibbs steps from v.
        """
    def hidden_given_visible(
        self, X: typing.Any, what: str, seed: typing.SupportsInt | typing.SupportsIndex = 0
    ) -> numpy.typing.NDArray[typing.Any] | GpuArray:
        """
        'mean', 'sample', 'log_partition' or 'field' (total inputs) of the hidden layer.
        """
    def set_chain_totals(self, totals: numpy.typing.NDArray[typing.Any] | GpuArray) -> None:
        """
        What the counts of each chain add up to.
        """
    def set_chains(self, arg0: numpy.typing.NDArray[typing.Any] | GpuArray) -> None: ...
    def set_parameters(
        self,
        components: numpy.typing.NDArray[typing.Any] | GpuArray,
        visible_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        hidden_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        log_variance: typing.Any = None,
    ) -> None:
        """
        Sets weights (hiddens, visibles) and biases.
        """
    def set_shapes(
        self,
        visible: numpy.typing.NDArray[typing.Any] | GpuArray,
        hidden: numpy.typing.NDArray[typing.Any] | GpuArray,
    ) -> None:
        """
        Gaps and asymmetries of double rectified units, a row each.
        """
    def set_state(self, arg0: dict) -> None: ...
    def train(
        self,
        X: typing.Any,
        order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
        sample_weight: typing.Any,
        options: TrainOptions,
        callback: typing.Any = None,
        uniforms: typing.Any = None,
        label: typing.Any = None,
    ) -> typing.Any:
        """
        Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite. uniforms(n), if given, returns the next n random numbers. label: a class for each of X, -1 where unknown.
        """
    def visible_given_hidden(
        self,
        H: numpy.typing.NDArray[typing.Any] | GpuArray,
        what: str,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        totals: typing.Any = None,
    ) -> numpy.typing.NDArray[typing.Any] | GpuArray:
        """
        'mean' or 'sample' of the visible layer; totals: what the counts of each row add up to (None: 1).
        """
    @property
    def down(self) -> float: ...
    @down.setter
    def down(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def gpu(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def step(self) -> int: ...
    @step.setter
    def step(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def swaps(self) -> list[float]: ...
    @swaps.setter
    def swaps(
        self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]
    ) -> None: ...
    @property
    def up(self) -> float: ...
    @up.setter
    def up(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def updates(self) -> int: ...
    @updates.setter
    def updates(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

class Dbm:
    """
    A deep Boltzmann machine in packed form.
    """
    def __init__(
        self,
        layers: collections.abc.Sequence[
            collections.abc.Sequence[
                tuple[
                    str,
                    typing.SupportsInt | typing.SupportsIndex,
                    typing.SupportsInt | typing.SupportsIndex,
                ]
            ]
        ],
        dtype: str,
        precision: str,
        gpu: typing.SupportsInt | typing.SupportsIndex = -1,
    ) -> None:
        """
        Layers are lists of (kind, units, units of a group), the visible one first; gpu: where it lives (-1: on the CPU).
        """
    def anneal(
        self,
        even: numpy.typing.NDArray[typing.Any] | GpuArray,
        betas: typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        base_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple:
        """
        (log weights, final states of the even layers) of annealing along betas.
        """
    def get_chains(self) -> numpy.typing.NDArray[typing.Any] | GpuArray: ...
    def get_link(
        self, i: typing.SupportsInt | typing.SupportsIndex
    ) -> tuple[
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
        numpy.typing.NDArray[typing.Any] | GpuArray,
    ]:
        """
        (components (upper, lower), lower_bias, upper_bias, log_variance)
        """
    def get_state(self) -> dict:
        """
        What training carries from step to step, besides parameters, chains, seed, step.
        """
    def gibbs(
        self,
        even: numpy.typing.NDArray[typing.Any] | GpuArray,
        steps: typing.SupportsInt | typing.SupportsIndex,
        clamp: typing.Any = None,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple:
        """
        (states of the even layers, conditional means of the visible one) after `steps` Gibbs steps.
        """
    def mean_field(
        self,
        X: typing.Any,
        tolerance: typing.SupportsFloat | typing.SupportsIndex,
        most: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple:
        """
        (means of the hidden layers side by side, what the odd ones add to the bound, sweeps of all rows together)
        """
    def set_chains(self, arg0: numpy.typing.NDArray[typing.Any] | GpuArray) -> None: ...
    def set_link(
        self,
        i: typing.SupportsInt | typing.SupportsIndex,
        components: numpy.typing.NDArray[typing.Any] | GpuArray,
        lower_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        upper_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
        log_variance: numpy.typing.NDArray[typing.Any] | GpuArray,
    ) -> None:
        """
        Sets the weights (upper, lower) between layers i and i + 1, and the bias of the upper one; where i is 0 also bias and log variance of the lower one, which mean nothing elsewhere.
        """
    def set_state(self, arg0: dict) -> None: ...
    def train(
        self,
        X: typing.Any,
        order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
        sample_weight: typing.Any,
        options: TrainOptions,
        tolerance: typing.SupportsFloat | typing.SupportsIndex,
        most: typing.SupportsInt | typing.SupportsIndex,
        callback: typing.Any = None,
    ) -> typing.Any:
        """
        Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite.
        """
    @property
    def gpu(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @rows.setter
    def rows(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def step(self) -> int: ...
    @step.setter
    def step(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def sweeps(self) -> int: ...
    @sweeps.setter
    def sweeps(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

class WeightGradient:
    """
    The gradient of a weight in panels, a sum that is not computed yet.
    """
    def __init__(
        self,
        w: numpy.typing.NDArray[typing.Any] | GpuArray,
        n: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def add(self, g: numpy.typing.NDArray[typing.Any] | GpuArray) -> None:
        """
        Adds an array of panels.
        """
    def add_columns(self, numbers: numpy.typing.NDArray[typing.Any] | GpuArray) -> None:
        """
        Adds the columns of w times these numbers.
        """
    def array(self) -> numpy.typing.NDArray[typing.Any] | GpuArray:
        """
        The sum, in a new array.
        """

class Step:
    """
    One step of gradient descent on any number of tensors (p, m, v, decay), in place.
    """
    def __init__(
        self,
        rule: str,
        rate: typing.SupportsFloat | typing.SupportsIndex,
        beta1: typing.SupportsFloat | typing.SupportsIndex = 0.9,
        beta2: typing.SupportsFloat | typing.SupportsIndex = 0.999,
        eps: typing.SupportsFloat | typing.SupportsIndex = 1e-08,
        step: typing.SupportsInt | typing.SupportsIndex = 1,
        scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        limit: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        nesterov: bool = False,
        live: typing.Any = None,
        factor: typing.Any = None,
        flag: typing.Any = None,
    ) -> None:
        """
        live: {rate, rate / c1, 1 / c2} in memory instead; factor: multiplies scale; flag: set where a value is not finite, not cleared. All on the GPU.
        """
    def apply(
        self,
        tensors: collections.abc.Sequence[
            tuple[tuple, numpy.typing.NDArray[typing.Any] | GpuArray]
        ],
    ) -> None:
        """
        Steps tensors, given as pairs of tensor and gradient.
        """
    def descend(self, tensor: tuple, g: WeightGradient) -> None:
        """
        Steps a weight along a sum while it is computed.
        """
    @property
    def finite(self) -> bool:
        """
        False once a stepped value was Inf or NaN.
        """

def abs(a: typing.Any) -> typing.Any:
    """
    Of every element: a < T(0) ? -a : a
    """

def add(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: a + b
    """

def available_isas() -> list[str]:
    """
    Instruction sets that this build and processor can run, slowest first.
    """

def build_facts() -> dict:
    """
    How this extension was built.
    """

def can_record() -> bool:
    """
    Whether graphs can be recorded.
    """

def catalogue() -> dict[str, list[str]]:
    """
    Every operation and the backends that have a kernel for it.
    """

def class_activity(
    field: numpy.typing.NDArray[typing.Any] | GpuArray,
    weights: numpy.typing.NDArray[typing.Any] | GpuArray,
    share: numpy.typing.NDArray[typing.Any] | GpuArray,
    choice: typing.Any = None,
) -> tuple:
    """
    Sums over classes and over rows of shares times hidden activities, and the total inputs with the classes chosen.
    """

def class_scores(
    field: numpy.typing.NDArray[typing.Any] | GpuArray,
    weights: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    bias[c] + sum_j softplus(field[i, j] + weights[c, j]) of every row and class.
    """

def class_shares(
    scores: numpy.typing.NDArray[typing.Any] | GpuArray,
    label: numpy.typing.NDArray[typing.Any] | GpuArray,
    generative: numpy.typing.NDArray[typing.Any] | GpuArray,
    discriminative: numpy.typing.NDArray[typing.Any] | GpuArray,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple:
    """
    (what classes count for in the gradient, labels or a draw of one where it is -1) of every row.
    """

def column_norms(
    w: numpy.typing.NDArray[typing.Any] | GpuArray, n: typing.SupportsInt | typing.SupportsIndex
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Squared norms of the columns of a matrix in panels.
    """

def column_sum(
    x: typing.Any, weight: typing.Any = None
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Weighted sum of the rows of x.
    """

def conditional(
    unit: str,
    field: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    group: typing.SupportsInt | typing.SupportsIndex = 1,
    bias_weight: typing.Any = None,
    totals: typing.Any = None,
    shape: typing.Any = None,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    ratio: typing.SupportsFloat | typing.SupportsIndex = -1.0,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    first_unit: typing.SupportsInt | typing.SupportsIndex = 0,
) -> dict:
    """
    A layer of units of any kind given its fields: mean, sample and log_partition.
    """

def continuous_fourth(a: typing.Any) -> typing.Any:
    """
    Of every element: (continuous_cumulant<4, T>(a))
    """

def continuous_mean(a: typing.Any) -> typing.Any:
    """
    Of every element: continuous_mean<T>(a)
    """

def continuous_third(a: typing.Any) -> typing.Any:
    """
    Of every element: (continuous_cumulant<3, T>(a))
    """

def continuous_variance(a: typing.Any) -> typing.Any:
    """
    Of every element: (continuous_cumulant<2, T>(a))
    """

def contraction(
    h: numpy.typing.NDArray[typing.Any] | GpuArray,
    norms: numpy.typing.NDArray[typing.Any] | GpuArray,
    activation: str,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
) -> tuple:
    """
    Squared Frobenius norm of a layer's Jacobian for every row, and its gradients by h and norms.
    """

def contrast_gradient(
    dv: numpy.typing.NDArray[typing.Any] | GpuArray,
    dh: numpy.typing.NDArray[typing.Any] | GpuArray,
    precision: typing.Any,
    hidden_mean: typing.Any,
    visible_offset: numpy.typing.NDArray[typing.Any] | GpuArray,
    hidden_offset: numpy.typing.NDArray[typing.Any] | GpuArray,
    total: typing.SupportsFloat | typing.SupportsIndex,
    decay: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    target: typing.SupportsFloat | typing.SupportsIndex = -1.0,
    cost: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    centred: bool = False,
) -> dict:
    """
    Gradients by the biases, and the terms of centring and sparsity, from an update's column sums.
    """

def conv(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    filters: numpy.typing.NDArray[typing.Any] | GpuArray,
    stride: typing.SupportsInt | typing.SupportsIndex = 1,
    padding: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ] = (0, 0),
    precision: str = "float32",
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Convolution (correlation) of maps (n, height, width, channels), numbers or Booleans, with filters (filters, height, width, channels).
    """

def conv_filters(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    g: numpy.typing.NDArray[typing.Any] | GpuArray,
    size: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ],
    stride: typing.SupportsInt | typing.SupportsIndex = 1,
    padding: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ] = (0, 0),
    precision: str = "float32",
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
) -> tuple:
    """
    Gradients of conv by filters of that size and by a bias a filter, given that by its outputs.
    """

def conv_input(
    g: numpy.typing.NDArray[typing.Any] | GpuArray,
    filters: numpy.typing.NDArray[typing.Any] | GpuArray,
    size: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ],
    stride: typing.SupportsInt | typing.SupportsIndex = 1,
    padding: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ] = (0, 0),
    precision: str = "float32",
    block: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    The transpose of conv, a map from its outputs to inputs of that size: the input gradient. block: pixels side by side that a row of the product makes; 0 chooses.
    """

def dense(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    w: numpy.typing.NDArray[typing.Any] | GpuArray,
    n: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.Any = None,
    activation: str = "identity",
    turned: bool = False,
    bf16: bool = False,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    activation(x w + bias), or with the transpose of w.
    """

def dense_grad(
    g: numpy.typing.NDArray[typing.Any] | GpuArray,
    y: numpy.typing.NDArray[typing.Any] | GpuArray,
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    w: numpy.typing.NDArray[typing.Any] | GpuArray,
    activation: str = "identity",
    turned: bool = False,
    bf16: bool = False,
    want_x: bool = True,
    want_w: bool = True,
    into: typing.Any = None,
) -> tuple:
    """
    Gradients of a dense layer by x, w (a WeightGradient, `into` where given) and bias.
    """

def div(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: a / b
    """

def draw_states(
    unit: str,
    field: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    group: typing.SupportsInt | typing.SupportsIndex = 1,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    clock: typing.Any = None,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    States of a layer given its fields.
    """

def dropout(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    rate: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    clock: typing.Any = None,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    x with entries left out at random, the others divided by 1 - rate.
    """

def exchange_states(
    states: numpy.typing.NDArray[typing.Any] | GpuArray,
    beside: numpy.typing.NDArray[typing.Any] | GpuArray,
    log_ratio: numpy.typing.NDArray[typing.Any] | GpuArray,
    levels: typing.SupportsInt | typing.SupportsIndex,
    first: typing.SupportsInt | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex,
) -> tuple:
    """
    Replica exchange of Boolean states, and of rows beside them: both, and the exchanges made and tried of each pair of temperatures.
    """

def exp(a: typing.Any) -> typing.Any:
    """
    Of every element: full_exp(a)
    """

def gate(
    g: numpy.typing.NDArray[typing.Any] | GpuArray,
    y: numpy.typing.NDArray[typing.Any] | GpuArray,
    activation: str,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    g activation'(y), the derivative taken from the output y.
    """

def get_isa() -> str:
    """
    The instruction set in use.
    """

def get_num_threads() -> int:
    """
    Threads that kernels run on.
    """

def gibbs_chain(
    states: numpy.typing.NDArray[typing.Any] | GpuArray,
    weights: numpy.typing.NDArray[typing.Any] | GpuArray,
    near_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    far_bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    steps: typing.SupportsInt | typing.SupportsIndex,
    betas: typing.Any = None,
    base_bias: typing.Any = None,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    first_step: typing.SupportsInt | typing.SupportsIndex = 0,
    near_stream: typing.SupportsInt | typing.SupportsIndex = 0,
    far_stream: typing.SupportsInt | typing.SupportsIndex = 1,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    precision: str = "float32",
) -> dict:
    """
    Alternations of Gibbs sampling of Bernoulli layers, or of annealing where betas are given: near and far states, and the last means or the log weights.
    """

def gpu_full(
    shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    number: typing.SupportsFloat | typing.SupportsIndex,
    dtype: typing.Any,
    gpu: typing.SupportsInt | typing.SupportsIndex = 0,
) -> typing.Any:
    """
    An array of one number on a GPU.
    """

def gpu_synchronize(gpu: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
    """
    Waits until a GPU has done what it was given.
    """

def gpu_zeros(
    shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    dtype: typing.Any,
    gpu: typing.SupportsInt | typing.SupportsIndex = 0,
) -> typing.Any:
    """
    An array of zeros on a GPU.
    """

def gpus() -> tuple[list, str]:
    """
    The GPUs, each with the reason why it cannot be used (empty where it can); and why there is none.
    """

def half_step(
    states: typing.Any,
    weights: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    sigma: typing.Any = None,
    k_scale: typing.Any = None,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    ratio: typing.SupportsFloat | typing.SupportsIndex = -1.0,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    precision: str = "float32",
    uniforms: typing.Any = None,
    field: typing.Any = None,
) -> dict:
    """
    One Gibbs half-step: mean, sample and log_partition. uniforms: numbers to use instead of drawing them; field: what comes in besides.
    """

def latent(
    head: numpy.typing.NDArray[typing.Any] | GpuArray,
    samples: typing.SupportsInt | typing.SupportsIndex = 1,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    clock: typing.Any = None,
) -> tuple:
    """
    Reparameterised codes, their noise, and the divergence of every dimension.
    """

def latent_grad(
    head: numpy.typing.NDArray[typing.Any] | GpuArray,
    eps: numpy.typing.NDArray[typing.Any] | GpuArray,
    gz: typing.Any = None,
    gkl: typing.Any = None,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    The gradient of `latent` by head.
    """

def likelihood(
    z: numpy.typing.NDArray[typing.Any] | GpuArray,
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    loss: str,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    repeat: typing.SupportsInt | typing.SupportsIndex = 1,
    row_scale: typing.Any = None,
    want_grad: bool = True,
) -> tuple:
    """
    The loss of every row, and its gradient by z.
    """

def log(a: typing.Any) -> typing.Any:
    """
    Of every element: full_log(a)
    """

def matmul(
    a: typing.Any,
    b: numpy.typing.NDArray[typing.Any] | GpuArray,
    precision: str = "float32",
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Matrix product a b; a is an array or a CSR tuple (indptr, indices, values, shape).
    """

def max(a: typing.Any, axis: typing.Any = None, keepdims: bool = False) -> typing.Any:
    """
    Maximum over axes.
    """

def maximum(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: (a > b) | (a != a) ? a : b
    """

def mean(a: typing.Any, axis: typing.Any = None, keepdims: bool = False) -> typing.Any:
    """
    Mean over axes.
    """

def measure_bandwidth(seconds: typing.SupportsFloat | typing.SupportsIndex = 0.5) -> float:
    """
    Best rate of a large copy on all threads, bytes/s read and written.
    """

def measure_peak(
    precision: str = "float32", seconds: typing.SupportsFloat | typing.SupportsIndex = 0.5
) -> float:
    """
    Best rate of register-only multiply-adds on all threads, FLOP/s.
    """

def minimum(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: (a < b) | (a != a) ? a : b
    """

def momentum_step(
    tensors: collections.abc.Sequence[
        tuple[
            numpy.typing.NDArray[typing.Any] | GpuArray,
            numpy.typing.NDArray[typing.Any] | GpuArray,
            numpy.typing.NDArray[typing.Any] | GpuArray,
        ]
    ],
    rate: typing.SupportsFloat | typing.SupportsIndex,
    momentum: typing.SupportsFloat | typing.SupportsIndex,
    low: typing.SupportsFloat | typing.SupportsIndex,
    high: typing.SupportsFloat | typing.SupportsIndex,
) -> bool:
    """
    A step up their gradients for tensors (p, v, g), in place; whether all is finite.
    """

def mul(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: (a * b)
    """

def neg(a: typing.Any) -> typing.Any:
    """
    Of every element: -a
    """

def outer(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    g: numpy.typing.NDArray[typing.Any] | GpuArray,
    bf16: bool = False,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Panels of x' g.
    """

def pack_bits(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    order: numpy.typing.NDArray[typing.Any] | GpuArray,
) -> numpy.ndarray:
    """
    Rows of zeros and ones as bits, seen as Booleans.
    """

def pooling_step(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    filters: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    pool: typing.SupportsInt | typing.SupportsIndex,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    ratio: typing.SupportsFloat | typing.SupportsIndex = -1.0,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    precision: str = "float32",
) -> dict:
    """
    A half-step of a convolutional RBM with probabilistic max-pooling: mean, sample, pooled and log_partition.
    """

def positive(a: typing.Any) -> typing.Any:
    """
    Of every element: a > T(0) ? V{} + T(1) : V{}
    """

def power(a: typing.Any, exponent: typing.SupportsFloat | typing.SupportsIndex) -> typing.Any:
    """
    a to a constant power.
    """

def probit(a: typing.Any) -> typing.Any:
    """
    Of every element: probit(a)
    """

def reciprocal(a: typing.Any) -> typing.Any:
    """
    Of every element: T(1) / a
    """

def relu(a: typing.Any) -> typing.Any:
    """
    Of every element: a < T(0) ? V{} : a
    """

def selective_targets(
    activities: numpy.typing.NDArray[typing.Any] | GpuArray,
    target: typing.SupportsFloat | typing.SupportsIndex,
    cost: typing.SupportsFloat | typing.SupportsIndex,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Activities of hidden units (a row each), on the way to targets that are sparse and selective.
    """

def set_isa(name: str) -> None:
    """
    Selects ref, base, avx2, avx512 or avx512bf16.
    """

def set_num_threads(n: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads; n <= 0 means all processors this process may run on.
    """

def shape_gradient(
    states: numpy.typing.NDArray[typing.Any] | GpuArray,
    contrast: numpy.typing.NDArray[typing.Any] | GpuArray,
    shape: numpy.typing.NDArray[typing.Any] | GpuArray,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    begin: typing.SupportsInt | typing.SupportsIndex,
    end: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    By gaps and asymmetries of double rectified units.
    """

def share(x: typing.Any, gpu: typing.SupportsInt | typing.SupportsIndex = 0) -> typing.Any:
    """
    Another library's array on a GPU, without a copy.
    """

def sigmoid(a: typing.Any) -> typing.Any:
    """
    Of every element: sigmoid(a)
    """

def softplus(a: typing.Any) -> typing.Any:
    """
    Of every element: softplus(a)
    """

def sqrt(a: typing.Any) -> typing.Any:
    """
    Of every element: sqrt(a)
    """

def square(a: typing.Any) -> typing.Any:
    """
    Of every element: (a * a)
    """

def sub(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: a - b
    """

def sum(a: typing.Any, axis: typing.Any = None, keepdims: bool = False) -> typing.Any:
    """
    Sum over axes.
    """

def take_rows(
    x: typing.Any,
    index: numpy.typing.NDArray[typing.Any] | GpuArray,
    cols: typing.SupportsInt | typing.SupportsIndex,
    corruption: str = "none",
    amount: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    clock: typing.Any = None,
) -> tuple:
    """
    Rows of x, and the same rows corrupted.
    """

def tally(
    totals: numpy.typing.NDArray[typing.Any] | GpuArray,
    values: collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | GpuArray],
    weight: typing.SupportsFloat | typing.SupportsIndex,
) -> None:
    """
    Adds numbers, weighted, to running sums.
    """

def tanh(a: typing.Any) -> typing.Any:
    """
    Of every element: tanh(a)
    """

def to_gpu(x: numpy.ndarray, gpu: typing.SupportsInt | typing.SupportsIndex = 0) -> typing.Any:
    """
    A copy on a GPU.
    """

def trim_memory() -> None:
    """
    Hands memory kept for reuse back to the system.
    """

def turn_bits(x: numpy.typing.NDArray[typing.Any] | GpuArray) -> numpy.ndarray:
    """
    The transpose of a Boolean matrix, made from bits.
    """

def uniforms(
    rows: typing.SupportsInt | typing.SupportsIndex,
    cols: typing.SupportsInt | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
    gpu: typing.SupportsInt | typing.SupportsIndex = -1,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    Counter-based uniforms in [0, 1), on the CPU or a GPU.
    """

def unpack_bits(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    like: numpy.typing.NDArray[typing.Any] | GpuArray,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    A Boolean matrix, made into bits, as values of like's type.
    """

def variance_gradient(
    x: numpy.typing.NDArray[typing.Any] | GpuArray,
    bias: numpy.typing.NDArray[typing.Any] | GpuArray,
    contrast: numpy.typing.NDArray[typing.Any] | GpuArray,
    row_scale: numpy.typing.NDArray[typing.Any] | GpuArray,
    row_dot: numpy.typing.NDArray[typing.Any] | GpuArray,
    begin: typing.SupportsInt | typing.SupportsIndex,
    end: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    By the log variances of Gaussian units.
    """

def variances(z: numpy.typing.NDArray[typing.Any] | GpuArray) -> tuple:
    """
    (precision, standard deviation) of log variances.
    """

def weigh_annealed(
    states: numpy.typing.NDArray[typing.Any] | GpuArray,
    log_z: numpy.typing.NDArray[typing.Any] | GpuArray,
    shift: numpy.typing.NDArray[typing.Any] | GpuArray,
    sign: typing.SupportsFloat | typing.SupportsIndex,
    factor: typing.SupportsFloat | typing.SupportsIndex,
) -> numpy.typing.NDArray[typing.Any] | GpuArray:
    """
    One step's part of the log weights of annealed importance sampling.
    """

def weight_update(
    visible: typing.Any,
    hidden: numpy.typing.NDArray[typing.Any] | GpuArray,
    weights: numpy.typing.NDArray[typing.Any] | GpuArray,
    velocity: typing.Any,
    contrast: numpy.typing.NDArray[typing.Any] | GpuArray,
    row_scale: typing.Any = None,
    rank_one: collections.abc.Sequence[
        tuple[
            numpy.typing.NDArray[typing.Any] | GpuArray, numpy.typing.NDArray[typing.Any] | GpuArray
        ]
    ] = [],
    rate: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    momentum: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    l2: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    l1: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    precision: str = "float32",
) -> dict:
    """
    One contrastive weight update: weights, velocity and row_dot.
    """

def where(condition: typing.Any, a: typing.Any, b: typing.Any) -> typing.Any:
    """
    a where the condition holds, else b.
    """
