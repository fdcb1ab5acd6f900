import torch
import torch.nn.functional as F

from dcl.models.networks import lenet
from dcl.models.oracle import Oracle, number_log_probabilities
from dcl.training.step import loss_of


def test_the_oracle_is_a_lenet_a_position():
    torch.manual_seed(0)
    oracle = Oracle(10, 3).eval()
    x = torch.randn(4, 1, 28, 28)
    logits = oracle(x)
    assert logits.shape == (4, 3, 10)
    for position, classifier in enumerate(oracle.classifiers):
        assert classifier.notation == lenet(10).notation
        assert torch.equal(logits[:, position], classifier(x))


def test_its_loss_trains_each_position_alone():
    torch.manual_seed(0)
    oracle, digits = Oracle(10, 2).eval(), torch.randint(0, 10, (8, 2))
    x = torch.randn(8, 1, 28, 28)
    loss_of(oracle(x), digits).backward()
    together = [[p.grad.clone() for p in classifier.parameters()] for classifier in oracle.classifiers]
    for position, classifier in enumerate(oracle.classifiers):
        classifier.zero_grad()
        F.cross_entropy(classifier(x), digits[:, position]).backward()
        for ours, alone in zip(together[position], classifier.parameters(), strict=True):
            torch.testing.assert_close(ours, alone.grad)


def test_the_joint_probability_is_the_product_over_the_positions():
    torch.manual_seed(1)
    logits = torch.randn(6, 3, 4)
    joint = number_log_probabilities(logits)
    assert joint.shape == (6, 64)
    torch.testing.assert_close(joint.exp().sum(1), torch.ones(6))
    each = F.log_softmax(logits, -1)
    number = 2 * 16 + 0 * 4 + 3
    torch.testing.assert_close(joint[:, number], each[:, 0, 2] + each[:, 1, 0] + each[:, 2, 3])
    digits = logits.argmax(-1)
    assert torch.equal(joint.argmax(1), digits @ torch.tensor([16, 4, 1]))
