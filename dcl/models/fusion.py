"""The DCL module: a large layer replaced by small branches whose responses are multiplied (paper, section 3).

With T branches, x is mapped to (section 3.1)

    y(t) = relu(theta(t) x)                    M(t) filters with the replaced layer's kernel, stride and padding
    v(t) = relu(W(t) y(t))                     as many outputs as the replaced layer has, at each position
    z    = (v(1) v(2) ... v(T) + eps)^(1/T)    eps = 10^-T

Deterministic fusion multiplies all branches. Stochastic fusion (section 3.5) draws two of them for every training
iteration and trains these alone, as a module of T = 2; in evaluation it is the mean over all pairs.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistcompose.errors import InputError

Fusion = Literal["deterministic", "stochastic"]
MAX_SLOPE = 1.0
INITIAL_BIAS = 0.5


def fuse(responses: Sequence[Tensor], eps: float, max_slope: float | None = MAX_SLOPE) -> Tensor:
    """Multiply the branches' responses and take the T-th root: z = (v(1) ... v(T) + eps)^(1/T), section 3.1.

    The value is the paper's to the letter. The derivative is not: dz/dv(t) = z^(1 - T) / T times the product of the
    other responses, and where v(t) is close to 0 that grows with the product (for T = 3 it is 33 v v', for T = 2
    5 v), so that a single step can turn a unit off for good. The backward pass uses min(dz/dv(t), max_slope) instead.
    This bound is ours; the paper is silent. `results/fusion` has the study that chose it.

    Parameters
    ----------
    responses : sequence of Tensor
        v(1) ... v(T), at least two, of one shape and not negative. Half-precision responses are fused in float32.
    eps : float
        At least 0; with 0 the derivative is NaN where a response is 0.
    max_slope : float, optional
        Upper bound of each dz/dv(t) in the backward pass. None: the exact derivative.

    Returns
    -------
    Tensor
        z, in the shape of one response; float32, or float64 where the responses are.
    """
    z: Tensor = _Fusion.apply(eps, max_slope, *responses)
    return z


class _Fusion(torch.autograd.Function):
    """The fusion with a bounded derivative; it keeps z and the responses, which the ReLUs keep anyway."""

    generate_vmap_rule = True

    @staticmethod
    def forward(eps: float, max_slope: float | None, *responses: Tensor) -> Tensor:  # noqa: ARG004
        """Compute z."""
        product = reduce(torch.mul, map(_at_least_float32, responses)) + eps
        return product.sqrt() if len(responses) == 2 else product.pow(1 / len(responses))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the backward pass needs."""
        _, ctx.max_slope, *responses = inputs
        ctx.save_for_backward(output, *responses)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply the gradient of z by each slope."""
        z, *responses = ctx.saved_tensors
        v = [_at_least_float32(response) for response in responses]
        root = 0.5 / z if len(v) == 2 else z.pow(1 - len(v)) / len(v)
        slopes = [reduce(torch.mul, v[:t] + v[t + 1 :], root) for t in range(len(v))]
        if ctx.max_slope is not None:
            slopes = [slope.clamp_(max=ctx.max_slope) for slope in slopes]
        return None, None, *(slope.mul_(gradient).to(r.dtype) for slope, r in zip(slopes, responses, strict=True))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _DCL(nn.Module):
    """Parameters and fusion, whatever the dimensions.

    Each branch owns its parameters, so that in stochastic training the optimiser sees no gradient at all of a branch
    that sat an iteration out, and neither momentum nor weight decay moves it.
    """

    def __init__(
        self,
        fan_in: tuple[int, ...],
        outputs: int,
        filters: int | Sequence[int],
        branches: int | None,
        fusion: Fusion,
        bias: bool,
        eps: float | None,
        initial_bias: float,
        max_slope: float | None,
    ) -> None:
        super().__init__()
        self.filters = _filters(filters, branches)
        self.branches = len(self.filters)
        self.outputs = outputs
        self.fusion = fusion
        self.eps = eps
        self.initial_bias = initial_bias
        self.max_slope = max_slope
        if eps is not None and not eps >= 0:
            raise InputError(f"eps = {eps!r}: should be at least 0, or None")
        if max_slope is not None and not max_slope > 0:
            raise InputError(f"max_slope = {max_slope!r}: should be above 0, or None")
        if fusion not in get_args(Fusion):
            raise InputError(f"fusion = {fusion!r}: should be one of {', '.join(get_args(Fusion))}")
        self.theta = nn.ParameterList(torch.empty(m, *fan_in) for m in self.filters)
        self.mix = nn.ParameterList(torch.empty(outputs, m) for m in self.filters)
        self.theta_bias = nn.ParameterList(torch.empty(m) for m in self.filters) if bias else None
        self.mix_bias = nn.ParameterList(torch.empty(outputs) for _ in self.filters) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise both stages as torch does its own layers: uniform, within 1 / sqrt(fan in).

        The paper is silent. Training sets in later than with the larger values of He et al., but ends at a lower error:
        after 10 epochs of MNIST-III-10 11.8 % against 13.2 % (A2) and 12.3 % against 16.0 % (A3S), on validation images
        (`results/recipe` and `results/recipe/he-init`).

        `initial_bias` is added to the second stage's biases. With biases near 0, many outputs never fire: an output
        layer then does not train, and of a hidden layer's 500 outputs 133 (A2) or 184 (A3D) are dead at the start. The
        larger the biases are, the nearer are all responses to one constant, and the later training sets in: with 2,
        A3S has learnt nothing after 3 epochs of MNIST-III-10. After 20 epochs, 0.5, 1 and 2 end at the same validation
        error within noise (`results/fusion`).
        """
        for weights, biases in ((self.theta, self.theta_bias), (self.mix, self.mix_bias)):
            for branch, weight in enumerate(weights):
                bound = weight[0].numel() ** -0.5
                nn.init.uniform_(weight, -bound, bound)
                if biases is not None:
                    shift = self.initial_bias if weights is self.mix else 0.0
                    nn.init.uniform_(biases[branch], shift - bound, shift + bound)

    def responses(self, x: Tensor, active: Sequence[int] | None = None) -> list[Tensor]:
        """v(t) of the active branches (by default all), each in the shape of the output."""
        chosen = range(self.branches) if active is None else active
        bias = None if self.theta_bias is None else _joined(self.theta_bias, chosen)
        y = F.relu(self._first(x, _joined(self.theta, chosen), bias))
        return [F.relu(v) for v in self._second(y, chosen)]

    def forward(self, x: Tensor) -> Tensor:
        """Map x to z."""
        if self.fusion == "deterministic" or self.branches == 2:
            return self._fuse(self.responses(x))
        if self.training:
            # From torch's CPU generator: reproducible by its seed, and nothing waits for another device.
            pair = sorted(torch.randperm(self.branches, device="cpu")[:2].tolist())
            return self._fuse(self.responses(x, pair))
        pairs = list(combinations(self.responses(x), 2))
        return reduce(torch.add, map(self._fuse, pairs)) / len(pairs)

    def _fuse(self, responses: Sequence[Tensor]) -> Tensor:
        eps = 10.0 ** -len(responses) if self.eps is None else self.eps
        return fuse(responses, eps, self.max_slope)

    def _mix_bias(self, branch: int) -> Tensor | None:
        return None if self.mix_bias is None else self.mix_bias[branch]

    def _first(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _second(self, y: Tensor, chosen: Sequence[int]) -> Sequence[Tensor]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Text that the module's repr shows."""
        return f"outputs={self.outputs}, filters={self.filters}, fusion={self.fusion}"


class DCLLinear(_DCL):
    """DCL in the place of `nn.Linear`.

    Parameters
    ----------
    in_features, out_features : int
        Those of the replaced layer.
    filters : int or sequence of int
        M(t), of every branch or one by one.
    branches : int, optional
        T, at least 2; may be left out where `filters` tells it.
    fusion : str
        `deterministic` or `stochastic`.
    bias : bool
        Whether both stages have biases.
    eps : float, optional
        Instead of 10^-T (stochastic: 10^-2).
    initial_bias : float
        Mean of the second stage's biases at the start.
    max_slope : float, optional
        Upper bound of the fusion's derivative in the backward pass; None for the exact derivative. See `fuse`.

    Raises
    ------
    InputError
        Fewer than two branches, a branch without filters, another fusion, a negative `eps`, `max_slope` not above 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        filters: int | Sequence[int],
        branches: int | None = None,
        fusion: Fusion = "deterministic",
        bias: bool = True,
        eps: float | None = None,
        initial_bias: float = INITIAL_BIAS,
        max_slope: float | None = MAX_SLOPE,
    ) -> None:
        super().__init__((in_features,), out_features, filters, branches, fusion, bias, eps, initial_bias, max_slope)

    def _first(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def _second(self, y: Tensor, chosen: Sequence[int]) -> Sequence[Tensor]:
        parts = torch.split(y, [self.filters[t] for t in chosen], dim=-1)
        return [F.linear(part, self.mix[t], self._mix_bias(t)) for part, t in zip(parts, chosen, strict=True)]


class DCLConv2d(_DCL):
    """DCL in the place of `nn.Conv2d`: branches with its kernel, stride and padding, fused at each position.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding
        Those of the replaced layer.
    filters, branches, fusion, bias, eps, initial_bias, max_slope
        As of `DCLLinear`.

    Raises
    ------
    InputError
        As `DCLLinear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        filters: int | Sequence[int],
        branches: int | None = None,
        fusion: Fusion = "deterministic",
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        eps: float | None = None,
        initial_bias: float = INITIAL_BIAS,
        max_slope: float | None = MAX_SLOPE,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        super().__init__(
            (in_channels, *kernel), out_channels, filters, branches, fusion, bias, eps, initial_bias, max_slope
        )
        self.stride, self.padding = stride, padding

    def _first(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding)

    def _second(self, y: Tensor, chosen: Sequence[int]) -> Sequence[Tensor]:
        sizes = [self.filters[t] for t in chosen]
        if len(set(sizes)) == 1:
            bias = None if self.mix_bias is None else _joined(self.mix_bias, chosen)
            weight = _joined(self.mix, chosen)[..., None, None]
            return F.conv2d(y, weight, bias, groups=len(sizes)).chunk(len(sizes), dim=-3)
        parts = torch.split(y, sizes, dim=-3)
        return [
            F.conv2d(part, self.mix[t][..., None, None], self._mix_bias(t))
            for part, t in zip(parts, chosen, strict=True)
        ]


class Bilinear(nn.Module):
    """Fusion of a bilinear CNN (section 3.3): z_k = sum_ij U_ijk y1_i y2_j.

    Parameters
    ----------
    filters : (int, int)
        M(1) and M(2).
    outputs : int
        K2.
    """

    def __init__(self, filters: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*filters, outputs))
        nn.init.normal_(self.weight, std=(filters[0] * filters[1]) ** -0.5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Fuse float (..., M(1)) and (..., M(2)) to (..., K2)."""
        outer = first[..., :, None] * second[..., None, :]
        return outer.flatten(-2) @ self.weight.flatten(0, 1)


def _filters(filters: int | Sequence[int], branches: int | None) -> tuple[int, ...]:
    each = (filters,) * (2 if branches is None else branches) if isinstance(filters, int) else tuple(filters)
    if branches not in (None, len(each)):
        raise InputError(f"filters = {each}: should be one number, or {branches} for as many branches")
    if len(each) < 2 or min(each) < 1:
        raise InputError(f"filters = {each}: a DCL module has two branches or more, each of at least one filter")
    return each


def _joined(parameters: nn.ParameterList, chosen: Sequence[int]) -> Tensor:
    return torch.cat([parameters[t] for t in chosen])
