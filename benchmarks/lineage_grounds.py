"""The images that lineages are studied on: what is searched there, by what budget and seeds."""

from pathlib import Path

from benchmarks.lineage_arms import METHODS, Ground
from benchmarks.study import CIFAR10_PARAMS, DIGITS_PARAMS


def digits() -> Ground:
    """Eight classes, three labels each."""
    return Ground(
        name="digits",
        params=DIGITS_PARAMS,
        changes={},
        methods=list(METHODS),
        networks=({"network": "small_cnn"}, {"network": "wide_cnn"}),
        space={
            "size": [0, 1],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.batch_size": [12, 24],
            "training.unlabelled_ratio": [3, 5, 8],
            "training.ema": [0.98, 0.99, 0.995],
            "training.magnitude": [5, 10],
            "training.num_ops": [1, 2],
            "training.dropout": [0.0, 0.3],
            "training.labelled_view": ["weak", "strong"],
        },
        starts={},
        lineage={
            "share": [0.35, 0.5, 0.65, 0.8],
            "generations": [1, 2],
            "beside": [True, False],
            "noise": ["on", "off", "last off"],
            "sizes": ["same", "growing"],
            "end": [0, 50],
            "init": ["scratch", "teacher"],
            "labels.kind": ["soft", "hard"],
            "labels.share": [0.8, 1.0],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.unlabelled_ratio": [3, 8],
            "training.unlabelled_weight": [1.0, 3.0, 8.0],
            "training.ema": [0.98, 0.99, 0.995],
        },
        meta={
            "share": [0.35, 0.5, 0.65],
            "feedback": ["inner_product", "loss_difference", "none"],
            "init": ["scratch", "teacher"],
            "end": [25, 50, 100],
            "teacher_learning_rate": [0.01, 0.02, 0.05],
            "uda.threshold": [0.5, 0.7, 0.8],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.unlabelled_ratio": [3, 5],
            "training.ema": [0.98, 0.99, 0.995],
        },
        mixup=[0.2, 0.75],
        recipe_of_both={
            "share": [0.2, 0.35, 0.5, 0.65, 0.8],
            "training.learning_rate": [0.02, 0.05, 0.1],
            "training.batch_size": [12, 24],
            "training.unlabelled_ratio": [3, 5, 8],
            "training.magnitude": [5, 10],
            "training.num_ops": [1, 2],
            "training.dropout": [0.0, 0.3],
            "training.labelled_view": ["weak", "strong"],
        },
        student={
            "training.batch_size": 12,
            "training.unlabelled_ratio": 8,
            "training.unlabelled_weight": 8.0,
            "training.learning_rate": 0.1,
            "training.ema": 0.98,
            "training.magnitude": 10,
            "training.num_ops": 2,
            "training.dropout": 0.3,
            "training.labelled_view": "strong",
        },
        unlabelled=860,
        budget=120_000,
        budget_of_search=120_000,
        candidates=8,
        seeds=range(3),
        more=range(3, 6),
        claims=range(700, 720),
        of_others=5,
    )


def cifar10(images: Path) -> Ground:
    """Photographs of 16x16 pixels, 400 labels a class, on less of a budget than the digits' models
    have for their size: some of the methods, three candidates on one seed, a third of the images.

    Args:
        images: a folder with `train/<class>/` and `test/<class>/`.
    """
    network = {"network": "resnet_9", "width": 0.25}
    rates = [0.05, 0.1, 0.2]
    noise = {"training.magnitude": [5, 10], "training.num_ops": [1, 2]}
    decay = {"training.weight_decay": [1e-3, 2e-3, 4e-3]}
    method = {"method.align": "uniform", "training.weight_decay": 1e-3}
    calm = {"training.num_ops": 1, "training.dropout": 0.0}  # more noise is worse, see RESULTS.md
    return Ground(
        name="cifar10",
        params=CIFAR10_PARAMS,
        changes={
            "data.root": str(images.resolve()),
            "labels.transforms": ["identity"],
            "training.weight_decay": 2e-3,
            "training.learning_rate": 0.1,
            "training.unlabelled_ratio": 1,
            **calm,
        },
        methods=["supervised", "flexmatch", "softmatch"],
        networks=(network, network),
        space={
            "training.learning_rate": rates,
            "training.batch_size": [32, 64],
            "training.unlabelled_ratio": [1, 2, 4],
            "training.ema": [0.98, 0.99, 0.995],
            **noise,
            "training.labelled_view": ["weak", "strong"],
            **decay,
        },
        starts={
            "flexmatch": {"method.threshold": 0.8, **method},
            "softmatch": {"method.momentum": 0.99, **method},
            "lineage": {
                "share": 0.35,
                "init": "teacher",
                "labels.transforms": ["identity", "flip"],
            },
        },
        lineage={
            "share": [0.3, 0.45, 0.6],
            "generations": [1, 2],
            "beside": [True, False],
            "init": ["scratch", "teacher"],
            "labels.kind": ["soft", "hard"],
            "labels.share": [0.8, 1.0],
            "labels.transforms": [["identity"], ["identity", "flip"]],
            "training.learning_rate": rates,
            "training.unlabelled_ratio": [3, 5],
            "training.unlabelled_weight": [1.0, 3.0],
            "training.ema": [0.98, 0.99, 0.995],
        },
        meta={},
        mixup=[],  # SoftMatch with 0.75 was level with SoftMatch
        recipe_of_both={**noise, "training.labelled_view": ["weak", "strong"], **decay},
        student={
            "training.batch_size": 32,
            "training.unlabelled_ratio": 3,
            "training.unlabelled_weight": 3.0,
            "training.learning_rate": 0.05,
            "training.weight_decay": 1e-3,
            "training.ema": 0.99,
            "training.magnitude": 10,
            "training.labelled_view": "strong",
            **calm,
        },
        unlabelled=41_000,
        budget=1_200_000,  # after half of them labels alone are still level with everything
        budget_of_search=400_000,
        candidates=3,
        seeds=range(1),
        more=range(0),
        claims=range(720, 723),
        of_others=1,  # 25 minutes of a core each
    )
