"""The names that params.yaml may use.

They live here as well as in the dicts they name, so that checking a file need not import torch;
tests hold the two together.
"""

from __future__ import annotations

from typing import Literal

NetworkName = Literal[
    "small_cnn",
    "wide_cnn",
    "resnet_9",
    "wrn_28_2",
    "torchvision/resnet18",
    "torchvision/resnet34",
    "torchvision/resnet50",
    "torchvision/resnet101",
    "torchvision/resnet152",
    "torchvision/resnext50_32x4d",
    "torchvision/resnext101_32x8d",
    "torchvision/wide_resnet50_2",
    "torchvision/wide_resnet101_2",
    "torchvision/densenet121",
    "torchvision/densenet169",
    "torchvision/densenet201",
    "torchvision/mobilenet_v2",
    "torchvision/mobilenet_v3_small",
    "torchvision/mobilenet_v3_large",
    "torchvision/efficientnet_b0",
    "torchvision/efficientnet_b1",
    "torchvision/efficientnet_b2",
    "torchvision/efficientnet_b3",
    "torchvision/efficientnet_b4",
    "torchvision/efficientnet_b5",
    "torchvision/efficientnet_b6",
    "torchvision/efficientnet_b7",
    "torchvision/efficientnet_v2_s",
    "torchvision/efficientnet_v2_m",
    "torchvision/efficientnet_v2_l",
    "torchvision/convnext_tiny",
    "torchvision/convnext_small",
    "torchvision/convnext_base",
    "torchvision/convnext_large",
    "torchvision/regnet_y_400mf",
    "torchvision/regnet_y_800mf",
    "torchvision/regnet_y_1_6gf",
    "torchvision/regnet_y_3_2gf",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/shufflenet_v2_x1_0",
    "torchvision/vgg11_bn",
    "torchvision/vgg16_bn",
    "torchvision/vgg19_bn",
]
SourceName = Literal["digits", "folder"]
OptimizerName = Literal["sgd", "adamw"]
LearnerName = Literal["supervised", "pseudo_label", "uda", "fixmatch"]
MethodName = Literal["lwf", "pseudo_label", "uda", "fixmatch"]
TransformName = Literal[
    "identity",
    "flip",
    "left",
    "right",
    "up",
    "down",
    "zoom_in",
    "zoom_out",
    "turn_left",
    "turn_right",
]
