"""The clean end of a training: labelled images alone, in the weak view, without model noise.

Noisy Student (Xie et al. 2020, arXiv:1911.04252, §3.1) ends this way, at a higher resolution than
it trained at, since networks see objects larger in training crops than at test (Touvron et al.
2019, arXiv:1906.06423).
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline import checkpoint, machine
from pipeline.data.batches import Stream
from pipeline.fit import finish, images_seen, look_at
from pipeline.learner import Learner
from pipeline.machine import Machine
from pipeline.params import FineTune, Training
from pipeline.train import Row


def fine_tune(
    learner: Learner,
    options: FineTune,
    clean: Stream,
    card: dict,
    history: list[Row],
    settings: Machine,
    run: Callable,
    stage: str,
) -> dict:
    """Train the shipped weights of a learner on, and write the model; returns its card.

    Args:
        learner: done with its noisy training.
        clean: the labelled images in the weak view.
        card: of the model so far.
        history: the curve so far.
        run: `fit` with the seed and all else that both trainings share.
        stage: of the first training, e.g. `student@g1`.
    """
    device = learner.network.mean.device
    spec = card["network"] | {"image_size": options.image_size}
    network = checkpoint.build(
        {**card, "network": spec | {"dropout": 0.0, "stochastic_depth": 0.0}}
    )
    network.to(device).load_state_dict(learner.weights.state_dict())
    steps = images_seen({"labelled": clean}, options.steps)
    card = card | {"network": spec, "images_seen": card["images_seen"] + steps}
    autocast = machine.suit(settings, network, checkpoint.pixels(card))
    tuned = Learner(network, recipe(learner.training, options), autocast=autocast)
    look = look_at(card, device)

    after = learner.training.steps

    def done(rows: list[Row]) -> dict:
        later = [row | {"step": after + row["step"]} for row in rows]
        return finish(tuned, card, look, [*history, *later])

    return run(
        tuned,
        {"labelled": clean},
        look,
        stage=f"{stage}.fine_tune",
        name=f"{card['name']}.fine_tune",
        done=done,
        after=after,
    )


def recipe(training: Training, options: FineTune) -> Training:
    """The recipe of the clean training: no warm-up, no noise, else as before."""
    changes = {"steps": options.steps, "learning_rate": options.learning_rate, "warmup_steps": 0}
    changes |= {"image_size": options.image_size, "dropout": 0.0, "stochastic_depth": 0.0}
    return training.model_copy(update=changes)
