"""A classifier with a calibrator behind its heads."""

import pytest
import torch
from cards import card
from pairs import flat, stirred
from torch.nn import functional as F

from pipeline.networks import checkpoint
from pipeline.networks.frozen import freeze
from pipeline.networks.servable import Servable


def calibrated(width=16) -> dict:
    plain = card()
    return plain | {"network": plain["network"] | {"calibrator": width}}


def test_it_begins_as_the_teacher_itself():
    torch.manual_seed(0)
    network, images = checkpoint.build(calibrated()).eval(), torch.rand(5, 1, 8, 8)
    after = network(images).logits.softmax(1)
    results, network.calibrator = network.calibrator, None
    before = network(images).logits.softmax(1)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    network.calibrator = stirred(results)
    assert (network(images).logits.softmax(1) - before).abs().max() > 0.01


def test_what_is_before_it_can_be_trained_on():
    """As the teacher of a pair that is not reduced: at first the gradient is the teacher's own."""
    network, images = checkpoint.build(calibrated()).eval(), torch.rand(5, 1, 8, 8)
    grads = []
    for results in (network.calibrator, None):
        network.calibrator = results
        loss = F.cross_entropy(network(images).logits, torch.tensor([0, 1, 2, 0, 1]))
        weights = [*network.backbone.parameters(), *network.heads.parameters()]
        grads.append(flat(torch.autograd.grad(loss, weights)))
    torch.testing.assert_close(*grads)


def test_it_comes_back_bit_for_bit(tmp_path):
    network = checkpoint.build(calibrated())
    stirred(network.calibrator)
    written = checkpoint.save(tmp_path, network, calibrated())
    read, _ = checkpoint.load(tmp_path)
    ours, theirs = network.state_dict(), read.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    extra = sum(weight.numel() for weight in network.calibrator.parameters())
    plain = sum(weight.numel() for weight in checkpoint.build(card()).parameters())
    assert written["num_parameters"] == plain + extra and extra == 3 * 16 + 16 + 16 * 3 + 3


def test_what_is_served_goes_through_it():
    network = checkpoint.build(calibrated())
    stirred(network.calibrator)
    servable, images = Servable(network, calibrated()), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(servable, (images,), dynamic_shapes=dynamic).module()
    more = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    assert torch.allclose(exported(more), servable(more), atol=1e-6)
    network.calibrator = None
    assert not torch.allclose(exported(more), servable(more), atol=1e-2)


def test_no_head_grows_before_it():
    with pytest.raises(ValueError, match="no head for 't2' can grow before a calibrator"):
        checkpoint.build(calibrated()).add_head("t2", 2)


def test_it_is_one_of_the_fully_connected_layers():
    network = checkpoint.build(calibrated())
    freeze(network, "fc")
    trained = {name.split(".")[0] for name, w in network.named_parameters() if w.requires_grad}
    assert trained == {"heads", "calibrator"}
