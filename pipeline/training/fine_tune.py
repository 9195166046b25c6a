"""The clean end of a training: labelled images alone, in the weak view, without model noise.

Noisy Student (Xie et al. 2020, arXiv:1911.04252, §3.1) ends this way, at a higher resolution than
it trained at, since networks see objects larger in training crops than at test (Touvron et al.
2019, arXiv:1906.06423).
"""

from collections.abc import Mapping

from pipeline.core import machine
from pipeline.data.batches import Stream
from pipeline.networks import checkpoint
from pipeline.training.fit import Trainings, evaluation, sizes
from pipeline.training.learner import Learner
from pipeline.training.loop import Row
from pipeline.training.recipe import FineTune, Training


def fine_tune(
    trainings: Trainings,
    learner: Learner,
    options: FineTune,
    clean: Mapping[str, Stream],
    card: dict,
) -> tuple[Learner, dict, list[Row]]:
    """Train the shipped weights of a learner on.

    Args:
        trainings: of the stage.
        learner: done with its noisy training.
        clean: the labelled images in the weak view.
        card: of the model so far.

    Returns:
        the new learner, its card with the images that it saw, its curve.
    """
    run = trainings.run
    spec = card["network"] | {"image_size": options.image_size}
    network = checkpoint.build(
        {**card, "network": spec | {"dropout": 0.0, "stochastic_depth": 0.0}}
    )
    network.to(run.device).load_state_dict(learner.weights.state_dict())
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card | {"network": spec}))
    tuned = Learner(network, recipe(learner.training, options), autocast=autocast)
    seen = card["images_seen"] + tuned.images_seen(sizes(clean))
    card = card | {"network": spec, "images_seen": seen}
    evaluate = evaluation(card, run.device)
    first = learner.training.steps
    return tuned, card, trainings.fit(tuned, clean, evaluate, "fine_tune", first)


def recipe(training: Training, options: FineTune) -> Training:
    """The recipe of the clean training: no warm-up, no noise, else as before."""
    changes = {"steps": options.steps, "learning_rate": options.learning_rate, "warmup_steps": 0}
    changes |= {"image_size": options.image_size, "dropout": 0.0, "stochastic_depth": 0.0}
    return training.model_copy(update=changes)
