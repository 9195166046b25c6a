"""The last layer with places, whatever the network."""

import pytest
import torch
from learners import equal_states

from pipeline.core.errors import UserError
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.networks.feature_maps import FeatureMaps, last_spatial

LAST = {  # the layer, and its output for images 3x64x64
    "small_cnn": ("backbone.layers", (16, 16)),
    "resnet_9": ("backbone.layers", (8, 8)),
    "wrn_28_2": ("backbone.norm", (16, 16)),
    "torchvision/resnet18": ("backbone.layer4", (2, 2)),
    "torchvision/mobilenet_v3_small": ("backbone.features", (2, 2)),
}


def network(name: str) -> Classifier:
    torch.manual_seed(0)
    backbone = NETWORKS[name].build(3, 1.0 if "/" in name else 0.125, 0.0)
    return Classifier(backbone, {"base": 2}, [0.5] * 3, [0.3] * 3)


@pytest.mark.parametrize("name", LAST)
def test_it_is_the_one_that_the_pooling_takes(name):
    """Not the pooling, nor a layer inside a residual block; its mean is what the heads see."""
    layer, places = LAST[name]
    made = network(name).train()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    assert last_spatial(made, (3, 64, 64)) == layer
    assert made.training and equal_states(before, made.state_dict())
    maps = FeatureMaps(made, [layer])
    features = made.eval()(torch.rand(2, 3, 64, 64)).features
    taken = maps.take()[layer]
    assert taken.shape[2:] == places
    if name in ("small_cnn", "wrn_28_2", "torchvision/resnet18"):
        torch.testing.assert_close(taken.mean((2, 3)), features)


def test_of_small_images_it_is_an_earlier_one():
    """A map of a single place says nothing of where."""
    assert last_spatial(network("torchvision/resnet18"), (3, 32, 32)) == "backbone.layer3"


def test_without_places_it_is_refused():
    with pytest.raises(UserError, match="no layer of several places"):
        last_spatial(network("small_cnn"), (3, 1, 1))
