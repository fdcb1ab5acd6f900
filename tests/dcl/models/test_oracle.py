import torch
import torch.nn.functional as F

from dcl.models.networks import lenet
from dcl.models.oracle import Oracle
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
