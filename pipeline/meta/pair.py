"""Meta Pseudo Labels (Pham et al. 2021, arXiv:2003.10580): the student's progress on labelled
images teaches its teacher how to label.

One update, in this order:

1. The teacher answers labelled and unlabelled images (strong view) in one pass with a gradient, and
   the weak view in another without. Labels are *sampled* from its answer to the strong view, of
   that very pass: same view, BatchNorm statistics, dropout mask, temperature 1.
2. The student learns from the sampled labels on the same view: theta' = step(theta, grad H(y, S)).
3. The feedback h says how much that helped on the labelled images:
   `loss_difference`  h = L(theta) - L(theta'), old minus new;
   `inner_product`    h = rate * <grad L(theta'), grad H(y, S(theta))>, its first order in the rate;
   `none`             h = 0: the teacher is trained by labels and consistency alone.
   A moving average of the feedback, its value before this step, is subtracted (not from `none`).
4. The teacher descends h * sum over images of H(y, T) (the sum is the log-probability of the
   labels; `scale: mean` divides by their number, as the released code does) + its loss on labelled
   images + consistency of the two views (UDA).

The student never sees a label of its own: fine-tune it afterwards. `reduced.py` is the form for
teachers too large to train, `feedback.py` has the measures, `soft.py` the form with soft labels.

`labels: soft` puts q = T(x) in the place of sampled labels. The student's new loss is
differentiable in q then, and the teacher descends that gradient, which is exact for SGD at any
rate, in the place of the feedback.

What state each pass is in. Teacher: training mode; weak view by its own batch statistics, without
noise (`weak_view: joint` puts it into the pass with all others, see `methods.consistency`).
Student on unlabelled images: training mode. Both labelled losses: batch statistics of the labelled
images themselves, running averages untouched, no dropout, no stochastic depth, float32; so they
differ by the step alone.

In forward passes of the labelled batch, a backward pass counted as two, at 7 unlabelled images for
each labelled one: teacher 3 * 8 + 7, student 3 * 7, labelled losses 2; 54 in all (`inner_product`:
55, since one labelled loss needs a gradient and the other is not asked for). Soft labels make it
about 83: the student's step is differentiated once more.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

import torch
from torch import Tensor

from pipeline.data.batches import Part
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import Learner, below, cross_entropy, full, places
from pipeline.training.method import Method
from pipeline.training.optimizer import learning_rate
from pipeline.training.recipe import Training


class Teacher(Learner):
    """The network that labels, and learns by labels, its methods and its student's progress.

    Args:
        network: trained on, on its device.
        training: the student's recipe, which is the teacher's but for the learning rate.
        options: of Meta Pseudo Labels.
        others: of `Learner`: the consistency loss as a method, autocast.
    """

    def __init__(self, network: Classifier, training: Training, options: Options, **others):
        recipe = training.model_copy(update={"learning_rate": options.teacher_learning_rate})
        super().__init__(network, recipe, **others)

    def ask(self, batch: dict[str, Part]) -> tuple[Tensor, dict[str, Tensor]]:
        """Its logits (N, K) of the unlabelled images, and its own losses, with their gradient."""
        for method in self.methods.values():
            method.step = self.num_steps
            batch = method.batch(batch)
        output, losses = self.losses(batch)
        return full(output.logits[places(batch)["unlabelled"]]), losses


class ConsistentTeacher(Teacher):
    """A teacher that is to say the same of the weak and the strong view as well (UDA)."""

    def __init__(
        self,
        network: Classifier,
        training: Training,
        options: Options,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ):
        consistency = {"uda": UnsupervisedDataAugmentation(options.uda)}
        super().__init__(network, training, options, autocast=autocast, methods=consistency)


class Pair(Learner):
    """A student that learns from sampled labels, and its teacher, which gets no feedback
    (`feedback: none`). Subclasses say how the student's progress corrects the teacher.

    Args:
        network: the student, on its device.
        training: the student's recipe.
        options: of Meta Pseudo Labels.
        teacher: what labels, and is trained on.
        autocast: makes the context of a forward pass.
        methods: add-ons to the student's step, by name.
    """

    remedy = "lower teacher_learning_rate or training.learning_rate, or lengthen warmup_steps"
    measurements = 0  # passes over the labelled images that measure a step of the student
    soft = False  # whether the targets are probabilities

    def __init__(
        self,
        network: Classifier,
        training: Training,
        options: Options,
        teacher: Teacher,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        methods: Mapping[str, Method] = MappingProxyType({}),
    ):
        super().__init__(network, training, autocast=autocast, methods=methods)
        self.options = options
        self.teacher = teacher
        self._answer = torch.empty(0)  # the student's logits

    def step(self, batch: dict[str, Part]) -> dict[str, Tensor]:
        """One update of both networks.

        Args:
            batch: the parts `labelled`, `unlabelled` (strong view) and `weak`, if the teacher
                compares views.

        Returns:
            the student's losses by name, `feedback` and the share of steps where it is positive,
            the teacher's losses as `teacher/<name>`, how often both agree; detached.
        """
        labelled, learns = batch["labelled"], not self.waits
        logits, losses = self.teacher.ask(batch)
        targets = self.targets(logits)
        if learns:
            self.before_step(labelled)
        part = batch["unlabelled"]._replace(targets=targets, soft=self.soft)
        noted = super().step({"unlabelled": part})
        feedback, correction = torch.zeros(2, device=logits.device)
        if learns:
            feedback, correction = self.correction(labelled, logits, targets)
        losses["loss"] = losses["loss"] + correction
        self.teacher.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.teacher.apply()
        noted |= {"feedback": feedback, "feedback_positive": (feedback > 0).float()}
        agree = self._answer[: len(logits)].argmax(1) == logits.argmax(1)
        noted |= {"agreement": agree.float().mean()}
        noted |= {f"teacher/{name}": value.detach() for name, value in losses.items()}
        for method in self.teacher.methods.values():
            noted |= method.notes
        return noted

    def targets(self, logits: Tensor) -> Tensor:
        """Labels (N, K) to learn from, by the teacher's logits: sampled one-hot rows."""
        probs = logits.detach().softmax(1)
        # of a teacher that diverged nothing can be drawn: the student's loss is to show it
        lost = probs.isnan()
        drawn = torch.multinomial(probs.masked_fill(lost, 1.0), 1)
        return torch.zeros_like(probs).scatter_(1, drawn, 1.0).masked_fill(lost, torch.nan)

    def before_step(self, labelled: Part) -> None:
        """The student is about to step."""

    def correction(self, labelled: Part, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """After the student's step: the feedback, for the record, and the loss that carries it to
        the teacher."""
        return tuple(torch.zeros(2, device=logits.device))

    # --- the student

    @property
    def waits(self) -> bool:
        """Whether the student does not learn yet."""
        return self.num_steps < self.options.student_wait

    def all_weights(self) -> Iterator[Tensor]:
        yield from super().all_weights()
        yield from self.teacher.all_weights()

    def rate_at(self, step: int) -> float:
        """The student's schedule begins when its waiting ends."""
        wait = self.options.student_wait
        if step < wait:
            return 0.0
        recipe = self.training.model_copy(update={"steps": self.training.steps - wait})
        return learning_rate(recipe, step - wait)

    @property
    def age(self) -> int:
        return self.num_steps - self.options.student_wait

    def passes(self, sizes: Mapping[str, int]) -> list[int]:
        measured = [sizes["labelled"]] * self.measurements
        return self.teacher.passes(sizes) + super().passes(_student(sizes)) + measured

    def check_passes(self, sizes: Mapping[str, int], image: Tensor) -> None:
        super().check_passes(sizes, image)
        self.teacher.check_passes(sizes, image)

    def images_seen(self, sizes: Mapping[str, int]) -> int:
        own = self.training.steps * sum(super().passes(_student(sizes)))
        steps = self.training.steps - self.options.student_wait
        measured = steps * self.measurements * sizes["labelled"]
        return self.teacher.images_seen(sizes) + own + measured

    def forward(self, images: list[Tensor]) -> Output:
        output = super().forward(images)
        self._answer = output.logits.detach()
        return output

    def advance(self) -> None:
        if self.waits:
            self.num_steps += 1
        else:
            super().advance()

    # --- its loss on labelled images

    def labelled_loss(self, part: Part) -> Tensor:
        """In the one state that is described above, with a gradient."""
        self.train_mode()
        with batch_statistics(self.network):
            logits = self.network(part.images).logits
        return cross_entropy(full(logits), part.targets)

    def downhill(self, labelled: Part, grads: Mapping[str, Tensor]) -> Tensor:
        """How far the step by these gradients went downhill on the labelled loss, to first order:
        the inner product, times d theta' / d gradient with the sign turned (the momentum of
        earlier steps is added to the step and does not depend on these labels)."""
        named = {n: w for n, w in self.network.named_parameters() if n in grads}
        loss = self.labelled_loss(labelled)
        theirs = dict(zip(named, torch.autograd.grad(loss, list(named.values()))))
        group = self.optimizer.param_groups[0]
        rate = group["lr"] * (1 + (group["momentum"] if group["nesterov"] else 0.0))
        return rate * torch.stack([(theirs[n] * grads[n]).sum() for n in theirs]).sum()

    # --- what survives an interruption, and what ships

    def state(self) -> dict[str, Tensor]:
        teacher = {f"teacher/{name}": value for name, value in self.teacher.state().items()}
        return super().state() | teacher

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_state(state)
        self.teacher.load_state(below(state, "teacher/"))

    def snapshot(self) -> dict[str, Tensor]:
        teacher = {f"teacher/{k}": v for k, v in self.teacher.snapshot().items()}
        return {f"student/{k}": v for k, v in super().snapshot().items()} | teacher

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        super().restore(below(snapshot, "student/"))
        self.teacher.restore(below(snapshot, "teacher/"))


def _student(sizes: Mapping[str, int]) -> dict[str, int]:
    """What the student learns from, of the parts of a batch."""
    return {"unlabelled": sizes["unlabelled"]}
