import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcl.models.fusion import INITIAL_BIAS, MAX_SLOPE, Bilinear, DCLConv2d, DCLLinear, fuse
from dcl.models.networks import lenet
from dcl.reporting.claims import dead_outputs
from dcl.reporting.figures import module_responses
from dcl.training.device_data import Normalisation
from dcl.training.loop import fit
from dcl.training.recipe import Recipe
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.errors import InputError

few = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**31)
FUSIONS = st.sampled_from(["deterministic", "stochastic"])
FILTERS = st.lists(st.integers(1, 5), min_size=2, max_size=4) | st.integers(1, 5).flatmap(
    lambda m: st.integers(2, 4).map(lambda t: [m] * t)
)


def branch_by_branch(module, x, active=None):
    """v(t) as section 3.1 writes it: one branch after the other, each with its own two layers."""
    responses = []
    for t in range(module.branches) if active is None else active:
        bias = None if module.theta_bias is None else module.theta_bias[t]
        mix_bias = None if module.mix_bias is None else module.mix_bias[t]
        if isinstance(module, DCLConv2d):
            y = F.relu(F.conv2d(x, module.theta[t], bias, module.stride, module.padding))
            responses.append(F.relu(F.conv2d(y, module.mix[t][:, :, None, None], mix_bias)))
        else:
            y = F.relu(x @ module.theta[t].T + (0 if bias is None else bias))
            responses.append(F.relu(y @ module.mix[t].T + (0 if mix_bias is None else mix_bias)))
    return responses


def definition(module, x):
    """z as sections 3.1 and 3.5 define it (evaluation)."""
    v = branch_by_branch(module, x)
    if module.fusion == "deterministic":
        return (torch.stack(v).prod(0) + 10.0 ** -len(v)) ** (1 / len(v))
    return torch.stack([(a * b + 1e-2) ** 0.5 for a, b in itertools.combinations(v, 2)]).mean(0)


def make(kind, filters, fusion, seed, bias=True, outputs=7, eps=None, max_slope=None):
    torch.manual_seed(seed)
    options = {"fusion": fusion, "bias": bias, "eps": eps, "max_slope": max_slope}
    if kind == "linear":
        return DCLLinear(6, outputs, filters, **options), torch.randn(5, 6)
    return DCLConv2d(3, outputs, 3, filters, stride=2, padding=1, **options), torch.randn(4, 3, 8, 6)


@few
@given(st.sampled_from(["linear", "conv"]), FILTERS, FUSIONS, st.booleans(), SEEDS)
def test_value_and_gradient_are_those_of_the_definition(kind, filters, fusion, bias, seed):
    module, x = make(kind, filters, fusion, seed, bias)
    module.eval()
    results = []
    for forward in (module, lambda x: definition(module, x)):
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        z = forward(leaf)
        (z * torch.linspace(-1, 1, z.numel()).view_as(z)).sum().backward()
        results.append([z.detach(), leaf.grad, *(p.grad.clone() for p in module.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@few
@given(st.sampled_from(["linear", "conv"]), FILTERS, SEEDS)
def test_a_stochastic_training_step_is_one_pair(kind, filters, seed):
    module, x = make(kind, filters, "stochastic", seed)
    torch.manual_seed(seed)
    z = module(x)
    pairs = itertools.combinations(range(module.branches), 2)
    candidates = [(a * b + 1e-2).sqrt() for a, b in (branch_by_branch(module, x, pair) for pair in pairs)]
    assert any(torch.allclose(z, candidate, atol=1e-6) for candidate in candidates)
    torch.manual_seed(seed)
    assert torch.equal(module(x), z)


def test_every_pair_comes_as_often():
    module, _ = make("linear", [1, 1, 1], "stochastic", 0)
    torch.manual_seed(1)
    counts = torch.zeros(3)
    for _ in range(900):
        module.zero_grad()
        module(torch.randn(1, 6)).sum().backward()
        counts += torch.tensor([parameter.grad is not None for parameter in module.mix])
    assert counts.sum() == 1800
    assert ((counts - 600).abs() < 80).all()


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("fusion", ["deterministic", "stochastic"])
@pytest.mark.parametrize("filters", [[2, 2], [2, 2, 2], [1, 3, 2]])
def test_gradcheck(kind, fusion, filters):
    module, x = make(kind, filters, fusion, 3, outputs=3)
    module.double().eval()
    for biases in (module.theta_bias, module.mix_bias):  # away from zero, where a ReLU has no derivative
        for bias in biases:
            nn.init.normal_(bias)
    x = x[:2, ..., :4, :4] if kind == "conv" else x[:2]
    parameters = list(module.parameters())
    names = [name for name, _ in module.named_parameters()]

    def forward(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(forward, (x.double().requires_grad_(), *parameters))


# --- 3.2 and 3.3 ----------------------------------------------------------------------------------------------------


@few
@given(FILTERS, SEEDS)
def test_the_power_of_z_is_the_sum_over_all_compositional_filters(filters, seed):
    """Section 3.2, where all pre-activations are positive: weights and inputs are made so."""
    module, x = make("linear", filters, "deterministic", seed, bias=False, eps=0.0)
    module.double()
    with torch.no_grad():
        for weight in module.mix:
            weight.abs_()
    x = x.double()
    y = [F.relu(x @ theta.T) for theta in module.theta]
    total = torch.zeros(len(x), module.outputs, dtype=torch.float64)
    for choice in itertools.product(*(range(m) for m in module.filters)):
        weights = torch.stack([module.mix[t][:, m] for t, m in enumerate(choice)]).prod(0)
        fired = torch.stack([y[t][:, m] for t, m in enumerate(choice)]).prod(0)
        total += fired[:, None] * weights
    torch.testing.assert_close(module(x) ** module.branches, total, rtol=1e-9, atol=1e-12)


@few
@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), SEEDS)
def test_two_branches_are_a_bilinear_fusion_of_rank_one(filters, seed):
    """Section 3.3: where both responses are positive, z^2 is a bilinear CNN's with U_ijk = W1_ik W2_jk."""
    module, x = make("linear", list(filters), "deterministic", seed, bias=False, eps=0.0)
    bilinear = Bilinear(filters, module.outputs)
    with torch.no_grad():
        bilinear.weight.copy_(torch.einsum("ki,kj->ijk", *module.mix))
        y = [F.relu(x @ theta.T) for theta in module.theta]
        positive = (y[0] @ module.mix[0].T > 0) & (y[1] @ module.mix[1].T > 0)
        torch.testing.assert_close((module(x) ** 2)[positive], bilinear(*y)[positive], rtol=1e-4, atol=1e-6)


# --- 3.4 ------------------------------------------------------------------------------------------------------------


@few
@given(
    u=st.integers(1, 5),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    k1=st.integers(1, 6),
    k2=st.integers(1, 9),
    filters=FILTERS,
)
def test_weights_and_multiply_adds_are_those_of_the_formulas(u, size, k1, k2, filters):
    (w2, h2), width = size, sum(filters)
    module = DCLConv2d(k1, k2, u, filters, bias=False)
    x = torch.randn(1, k1, h2 + u - 1, w2 + u - 1)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert sum(p.numel() for p in module.parameters()) == u**2 * k1 * width + k2 * width
    assert counter.get_total_flops() == 2 * (u**2 * w2 * h2 * k1 * width + w2 * h2 * k2 * width)
    linear = DCLLinear(k1 * u**2, k2, filters, bias=False)
    with FlopCounterMode(display=False) as counter:
        linear(torch.randn(1, k1 * u**2))
    assert sum(p.numel() for p in linear.parameters()) == (k1 * u**2 + k2) * width
    assert counter.get_total_flops() == 2 * (k1 * u**2 + k2) * width


# --- 3.5 and training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_branches_that_sit_out_do_not_move_by_a_bit(kind):
    module, x = make(kind, [2, 2, 2, 2], "stochastic", 5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    groups = [module.theta, module.theta_bias, module.mix, module.mix_bias]
    for _ in range(12):
        before = [[p.detach().clone() for p in group] for group in groups]
        optimizer.zero_grad()
        module(x).square().sum().backward()
        trained = [t for t in range(4) if module.mix[t].grad is not None]
        optimizer.step()
        assert len(trained) == 2
        for group, old in zip(groups, before, strict=True):
            for t in range(4):
                assert (group[t].grad is not None) == (t in trained)
                if t not in trained:
                    assert torch.equal(group[t], old[t])


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize("fusion", ["deterministic", "stochastic"])
@pytest.mark.parametrize("branches", [2, 3, 5])
def test_no_scale_of_input_makes_loss_or_gradient_infinite(scale, fusion, branches):
    torch.manual_seed(0)
    net = nn.Sequential(DCLConv2d(1, 8, 3, 4, branches, fusion), nn.Flatten(), DCLLinear(128, 10, 4, branches, fusion))
    for training in (True, False):
        net.train(training).zero_grad()
        loss = F.cross_entropy(net(scale * torch.randn(4, 1, 6, 6)), torch.arange(4))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "arguments",
    [{"filters": 3, "branches": 1}, {"filters": [3]}, {"filters": [3, 0]}, {"filters": [3, 3], "branches": 3}],
)
def test_impossible_modules_are_refused(arguments):
    with pytest.raises(InputError, match="filters"):
        DCLLinear(4, 4, **arguments)
    with pytest.raises(InputError, match="fusion"):
        DCLLinear(4, 4, 2, fusion="random")


@pytest.mark.parametrize("variant", ["A2", "A3S", "A3D", "B2", "B3S", "B3D"])
def test_hardly_an_output_is_dead_at_the_start_and_none_after_an_epoch(variant: str) -> None:
    """The rule for the second stage's biases is one for all variants, and leaves no unit without a response."""
    data = ComposedDigits("MNIST-II-01", "fit", length=6400).as_tensors()
    held_out, _ = ComposedDigits("MNIST-II-01", "validation", length=1000).as_tensors()
    normalise = Normalisation.measured(data[0]).on(torch.device("cpu"))
    torch.manual_seed(0)
    net = lenet(100, variant)
    module = next(each for each in net.modules() if isinstance(each, DCLLinear))
    assert module.initial_bias == INITIAL_BIAS

    def share_of_dead() -> float:
        _, branches = module_responses(net.eval(), held_out, normalise)
        return dead_outputs(branches, module.fusion) / module.outputs

    assert share_of_dead() == 0
    fit(net, data, (data[0][:100], data[1][:100]), epochs=1, device="cpu", recipe=Recipe(lr=0.02))
    assert share_of_dead() <= 0.05


def test_an_initial_bias_moves_biases_alone() -> None:
    torch.manual_seed(3)
    plain = DCLLinear(8, 6, 4, 2, initial_bias=0.0)
    torch.manual_seed(3)
    moved = DCLLinear(8, 6, 4, 2, initial_bias=1.5)
    for (name, ours), theirs in zip(plain.named_parameters(), moved.parameters(), strict=True):
        assert torch.allclose(theirs, ours + (1.5 if name.startswith("mix_bias") else 0))


# --- the bounded derivative -----------------------------------------------------------------------------------------


def slopes(v, eps):
    """dz/dv(t) of section 3.1's formula, in float64, by its analytic form."""
    v = [each.detach().double() for each in v]
    base = torch.stack(v).prod(0) + eps
    others = [torch.stack(v[:t] + v[t + 1 :]).prod(0) for t in range(len(v))]
    return [base ** (1 / len(v) - 1) / len(v) * other for other in others]


def some_responses(branches, seed, scale=1.0, dtype=torch.float32):
    """Responses of which a third are 0."""
    generator = torch.Generator().manual_seed(seed)
    v = (scale * torch.rand(branches, 50, generator=generator, dtype=dtype) - scale / 3).relu()
    return [each.clone().requires_grad_() for each in v]


@few
@given(st.integers(2, 5), SEEDS, st.sampled_from([1e-3, 1.0, 30.0]), st.sampled_from([0.5, 1.0, 5.0, None]))
def test_the_backward_slope_is_the_exact_one_cut_at_the_bound(branches, seed, scale, bound):
    v = some_responses(branches, seed, scale, torch.float64)
    eps = 10.0**-branches
    fuse(v, eps, bound).sum().backward()
    for each, exact in zip(v, slopes(v, eps), strict=True):
        torch.testing.assert_close(each.grad, exact if bound is None else exact.clamp(max=bound))


@few
@given(st.integers(2, 5), SEEDS, st.sampled_from([1e-3, 1.0, 30.0]))
def test_the_bound_leaves_the_value_as_the_papers_formula_gives_it(branches, seed, scale):
    v = some_responses(branches, seed, scale)
    eps = 10.0**-branches
    product = v[0]
    for each in v[1:]:
        product = product * each
    expected = (product + eps).sqrt() if branches == 2 else (product + eps).pow(1 / branches)
    for bound in (None, 0.5, MAX_SLOPE):
        assert torch.equal(fuse(v, eps, bound), expected)


@pytest.mark.parametrize("branches", [2, 3, 4])
def test_gradcheck_where_nothing_is_cut(branches):
    torch.manual_seed(branches)
    v = [(1 + torch.rand(5, dtype=torch.float64)).requires_grad_() for _ in range(branches)]
    assert max(float(slope.max()) for slope in slopes(v, 10.0**-branches)) < MAX_SLOPE
    assert torch.autograd.gradcheck(lambda *v: fuse(v, 10.0**-branches), v)
    assert torch.autograd.gradgradcheck(lambda *v: fuse(v, 10.0**-branches), v)


@pytest.mark.parametrize("branches", [2, 3])
def test_half_precision_responses_are_fused_in_float32(branches):
    v = [each.detach().bfloat16().requires_grad_() for each in some_responses(branches, 0)]
    with torch.autocast("cpu", torch.bfloat16):
        z = fuse(v, 10.0**-branches)
    assert z.dtype == torch.float32
    assert torch.equal(z, fuse([each.float() for each in v], 10.0**-branches))
    z.sum().backward()
    for each, exact in zip(v, slopes(v, 10.0**-branches), strict=True):
        assert each.grad.dtype == torch.bfloat16
        torch.testing.assert_close(each.grad.double(), exact.clamp(max=MAX_SLOPE), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("fusion", ["deterministic", "stochastic"])
def test_compiles_without_a_graph_break(kind, fusion):
    module, x = make(kind, [3, 3, 3], fusion, seed=0, max_slope=MAX_SLOPE)
    if fusion == "stochastic":
        module.eval()  # in training a pair is drawn on the host
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for run, leaf in zip((module, torch.compile(module, backend="aot_eager", fullgraph=True)), leaves, strict=True):
        run(leaf).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_works_under_functional_transforms_and_on_the_meta_device():
    v = [each.detach() for each in some_responses(3, 0)]
    gradients = torch.func.grad(lambda v: fuse(v, 1e-3).sum())(v)
    for each, exact in zip(gradients, slopes(v, 1e-3), strict=True):
        torch.testing.assert_close(each, exact.clamp(max=MAX_SLOPE).float())
    meta = [torch.empty(5, device="meta", requires_grad=True) for _ in range(3)]
    fuse(meta, 1e-3).sum().backward()
    assert all(each.grad.shape == (5,) for each in meta)


@pytest.mark.parametrize("branches", [2, 3, 4])
def test_keeps_nothing_but_the_result_and_the_responses(branches):
    v = some_responses(branches, 0)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        z = fuse(v, 10.0**-branches)
    assert set(kept) == {z.data_ptr(), *(each.data_ptr() for each in v)}


@pytest.mark.parametrize(
    "options", [{"eps": -1.0}, {"eps": float("nan")}, {"max_slope": 0.0}, {"max_slope": float("nan")}]
)
def test_impossible_constants_are_refused(options):
    with pytest.raises(InputError, match=rf"{next(iter(options))} = .*(above|at least) 0"):
        DCLLinear(6, 7, 3, branches=2, **options)
