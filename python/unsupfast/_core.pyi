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
    "TrainOptions",
    "available_isas",
    "build_facts",
    "catalogue",
    "column_sum",
    "get_isa",
    "get_num_threads",
    "half_step",
    "matmul",
    "measure_bandwidth",
    "measure_peak",
    "pack_bits",
    "set_isa",
    "set_num_threads",
    "turn_bits",
    "uniforms",
    "vector_math",
    "weight_update",
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

    centering: bool
    learn_sigma: bool
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

class Rbm:
    """
    A restricted Boltzmann machine in packed form.
    """
    def __init__(
        self,
        visibles: typing.SupportsInt | typing.SupportsIndex,
        hiddens: typing.SupportsInt | typing.SupportsIndex,
        gaussian: bool,
        dtype: str,
        precision: str,
    ) -> None: ...
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
    def set_state(self, arg0: dict) -> None: ...
    def train(
        self,
        X: typing.Any,
        order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
        sample_weight: typing.Any,
        options: TrainOptions,
        callback: typing.Any = None,
    ) -> typing.Any:
        """
        Trains on the rows in this order; None, or (mini-batch, tensor) where a value stopped being finite.
        """
    def visible_given_hidden(
        self, H: numpy.ndarray, what: str, seed: typing.SupportsInt | typing.SupportsIndex = 0
    ) -> numpy.ndarray:
        """
        'mean' or 'sample' of the visible layer.
        """
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def step(self) -> int: ...
    @step.setter
    def step(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

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

def column_sum(x: typing.Any, weight: typing.Any = None) -> numpy.ndarray:
    """
    Weighted sum of the rows of x.
    """

def get_isa() -> str:
    """
    The instruction set in use.
    """

def get_num_threads() -> int:
    """
    Threads that kernels run on.
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
) -> dict:
    """
    One Gibbs half-step: mean, sample and log_partition.
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

def pack_bits(
    x: numpy.ndarray, order: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]
) -> numpy.ndarray:
    """
    Rows of zeros and ones as bits, seen as Booleans.
    """

def set_isa(name: str) -> None:
    """
    Selects ref, base, avx2, avx512 or avx512bf16.
    """

def set_num_threads(n: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads; n <= 0 means all processors this process may run on.
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

def vector_math(function: str, x: numpy.ndarray) -> numpy.ndarray:
    """
    An elementary function of every element.
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
