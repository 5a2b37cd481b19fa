"""
Compiled core of unsupfast.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "PackedProduct",
    "Rbm",
    "Step",
    "TrainOptions",
    "WeightGradient",
    "abs",
    "add",
    "available_isas",
    "build_facts",
    "catalogue",
    "column_norms",
    "column_sum",
    "conditional",
    "continuous_fourth",
    "continuous_mean",
    "continuous_third",
    "continuous_variance",
    "contraction",
    "dense",
    "dense_grad",
    "div",
    "dropout",
    "exp",
    "gate",
    "get_isa",
    "get_num_threads",
    "gibbs_chain",
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
    "mul",
    "neg",
    "outer",
    "pack_bits",
    "power",
    "probit",
    "reciprocal",
    "relu",
    "set_isa",
    "set_num_threads",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "sum",
    "take_rows",
    "tanh",
    "trim_memory",
    "turn_bits",
    "uniforms",
    "weight_update",
    "where",
]

class PackedProduct:
    """
    A right operand packed once.
    """
    def __init__(self, b: numpy.ndarray, precision: str = "float32") -> None: ...
    def half_step(
        self,
        a: numpy.ndarray,
        sample: numpy.ndarray,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        sample[...] = Bernoulli(sigmoid(a b))
        """
    def multiply(self, a: numpy.ndarray, out: numpy.ndarray) -> None:
        """
        out[...] = a b
        """

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
    def fast_decay(self) -> float: ...
    @fast_decay.setter
    def fast_decay(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def fast_rate(self) -> float: ...
    @fast_rate.setter
    def fast_rate(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
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
    ) -> None:
        """
        Layers are lists of (kind, units, units of a group).
        """
    def anneal(
        self,
        v: numpy.ndarray,
        betas: typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        base_bias: numpy.ndarray,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.ndarray]:
        """
        (log weights, final states) of annealing along betas.
        """
    def get_chains(self) -> numpy.ndarray: ...
    def get_parameters(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """
        (components (hiddens, visibles), visible_bias, hidden_bias, log_variance)
        """
    def get_shapes(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """
        (visible, hidden)
        """
    def get_state(self) -> dict:
        """
        What training carries from step to step, besides parameters, chains, seed and step.
        """
    def gibbs(
        self,
        v: numpy.ndarray,
        steps: typing.SupportsInt | typing.SupportsIndex,
        clamp: typing.Any = None,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        callback: typing.Any = None,
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """
        (states, conditional means) after `steps` Gibbs steps from v.
        """
    def hidden_given_visible(
        self, X: typing.Any, what: str, seed: typing.SupportsInt | typing.SupportsIndex = 0
    ) -> numpy.ndarray:
        """
        'mean', 'sample' or 'log_partition' of the hidden layer.
        """
    def set_chain_totals(self, totals: numpy.ndarray) -> None:
        """
        What the counts of each chain add up to.
        """
    def set_chains(self, arg0: numpy.ndarray) -> None: ...
    def set_parameters(
        self,
        components: numpy.ndarray,
        visible_bias: numpy.ndarray,
        hidden_bias: numpy.ndarray,
        log_variance: typing.Any = None,
    ) -> None:
        """
        Sets weights (hiddens, visibles) and biases.
        """
    def set_shapes(self, visible: numpy.ndarray, hidden: numpy.ndarray) -> None:
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
    ) -> typing.Any:
        """
        Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite. uniforms(n), if given, returns the next n random numbers.
        """
    def visible_given_hidden(
        self,
        H: numpy.ndarray,
        what: str,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        totals: typing.Any = None,
    ) -> numpy.ndarray:
        """
        'mean' or 'sample' of the visible layer; totals: what the counts of each row add up to (None: 1).
        """
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
    def updates(self) -> int: ...
    @updates.setter
    def updates(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

class WeightGradient:
    """
    The gradient of a weight in panels, a sum that is not computed yet.
    """
    def __init__(self, w: numpy.ndarray, n: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def add(self, g: numpy.ndarray) -> None:
        """
        Adds an array of panels.
        """
    def add_columns(self, numbers: numpy.ndarray) -> None:
        """
        Adds the columns of w times these numbers.
        """
    def array(self) -> numpy.ndarray:
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
    ) -> None: ...
    def apply(self, tensors: collections.abc.Sequence[tuple[tuple, numpy.ndarray]]) -> None:
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

def catalogue() -> dict[str, list[str]]:
    """
    Every operation and the backends that have a kernel for it.
    """

def column_norms(w: numpy.ndarray, n: typing.SupportsInt | typing.SupportsIndex) -> numpy.ndarray:
    """
    Squared norms of the columns of a matrix in panels.
    """

def column_sum(x: typing.Any, weight: typing.Any = None) -> numpy.ndarray:
    """
    Weighted sum of the rows of x.
    """

def conditional(
    unit: str,
    field: numpy.ndarray,
    bias: numpy.ndarray,
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
    h: numpy.ndarray,
    norms: numpy.ndarray,
    activation: str,
    scale: typing.SupportsFloat | typing.SupportsIndex = 1.0,
) -> tuple:
    """
    Squared Frobenius norm of a layer's Jacobian for every row, and its gradients by h and norms.
    """

def dense(
    x: numpy.ndarray,
    w: numpy.ndarray,
    n: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.Any = None,
    activation: str = "identity",
    turned: bool = False,
    bf16: bool = False,
) -> numpy.ndarray:
    """
    activation(x w + bias), or with the transpose of w.
    """

def dense_grad(
    g: numpy.ndarray,
    y: numpy.ndarray,
    x: numpy.ndarray,
    w: numpy.ndarray,
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

def dropout(
    x: numpy.ndarray,
    rate: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.ndarray:
    """
    x with entries left out at random, the others divided by 1 - rate.
    """

def exp(a: typing.Any) -> typing.Any:
    """
    Of every element: full_exp(a)
    """

def gate(g: numpy.ndarray, y: numpy.ndarray, activation: str) -> numpy.ndarray:
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
    states: typing.Annotated[numpy.typing.ArrayLike, numpy.bool],
    weights: numpy.ndarray,
    near_bias: numpy.ndarray,
    far_bias: numpy.ndarray,
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

def half_step(
    states: typing.Any,
    weights: numpy.ndarray,
    bias: numpy.ndarray,
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
) -> dict:
    """
    One Gibbs half-step: mean, sample and log_partition. uniforms: numbers to use instead of drawing them.
    """

def latent(
    head: numpy.ndarray,
    samples: typing.SupportsInt | typing.SupportsIndex = 1,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
    first_row: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple:
    """
    Reparameterised codes, their noise, and the divergence of every dimension.
    """

def latent_grad(
    head: numpy.ndarray, eps: numpy.ndarray, gz: typing.Any = None, gkl: typing.Any = None
) -> numpy.ndarray:
    """
    The gradient of `latent` by head.
    """

def likelihood(
    z: numpy.ndarray,
    x: numpy.ndarray,
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
    b: numpy.ndarray,
    precision: str = "float32",
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> numpy.ndarray:
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

def mul(a: typing.Any, b: typing.Any) -> typing.Any:
    """
    Of every element: (a * b)
    """

def neg(a: typing.Any) -> typing.Any:
    """
    Of every element: -a
    """

def outer(x: numpy.ndarray, g: numpy.ndarray, bf16: bool = False) -> numpy.ndarray:
    """
    Panels of x' g.
    """

def pack_bits(
    x: numpy.ndarray, order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]
) -> numpy.ndarray:
    """
    Rows of zeros and ones as bits, seen as Booleans.
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

def set_isa(name: str) -> None:
    """
    Selects ref, base, avx2, avx512 or avx512bf16.
    """

def set_num_threads(n: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads; n <= 0 means all processors this process may run on.
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
    index: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    cols: typing.SupportsInt | typing.SupportsIndex,
    corruption: str = "none",
    amount: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    step: typing.SupportsInt | typing.SupportsIndex = 0,
    stream: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple:
    """
    Rows of x, and the same rows corrupted.
    """

def tanh(a: typing.Any) -> typing.Any:
    """
    Of every element: tanh(a)
    """

def trim_memory() -> None:
    """
    Hands memory kept for reuse back to the system.
    """

def turn_bits(x: typing.Annotated[numpy.typing.ArrayLike, numpy.bool]) -> numpy.ndarray:
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
) -> numpy.ndarray:
    """
    Counter-based uniforms in [0, 1).
    """

def weight_update(
    visible: typing.Any,
    hidden: numpy.ndarray,
    weights: numpy.ndarray,
    velocity: typing.Any,
    contrast: numpy.ndarray,
    row_scale: typing.Any = None,
    rank_one: collections.abc.Sequence[tuple[numpy.ndarray, numpy.ndarray]] = [],
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
