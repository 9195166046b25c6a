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
teachers too large to train.

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

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.learner import Learner, below, cross_entropy, full, learning_rate, places
from pipeline.methods.consistency import UnsupervisedDataAugmentation, batch_statistics
from pipeline.networks import Classifier, Output
from pipeline.params import MetaPseudoLabels as Options
from pipeline.params import Training

if TYPE_CHECKING:
    from pipeline.methods import Method


class Teacher(Learner):
    """The network that labels, and learns by labels, its methods and what its student tells.

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
        for method in self.methods:
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
        consistency = UnsupervisedDataAugmentation(options.uda)
        super().__init__(network, training, options, autocast=autocast, methods=[consistency])


class MetaPseudoLabels(Learner):
    """A student and the teacher that it corrects.

    Args:
        network: the student, on its device.
        training: the student's recipe.
        options: of the method.
        teacher: what labels, and is trained on.
        autocast: makes the context of a forward pass.
        methods: add-ons to the student's step.
    """

    remedy = "lower teacher_learning_rate or training.learning_rate, or lengthen warmup_steps"

    def __init__(
        self,
        network: Classifier,
        training: Training,
        options: Options,
        teacher: Teacher,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        methods: Sequence[Method] = (),
    ):
        super().__init__(network, training, autocast=autocast, methods=methods)
        self.options = options
        self.teacher = teacher
        self.baseline = torch.zeros((), device=network.mean.device)
        self._answer = torch.empty(0)  # the student's logits
        self._weights: dict[str, Tensor] = {}  # those of the student's pass
        self._grads: dict[str, Tensor] = {}  # and the gradients that it stepped by

    def step(self, batch: dict[str, Part]) -> dict[str, Tensor]:
        """One update of both networks.

        Args:
            batch: the parts `labelled`, `unlabelled` (strong view) and `weak`, if the teacher
                compares views.

        Returns:
            the student's losses by name, `feedback` and the share of steps where it is positive,
            the teacher's losses as `teacher/<name>`, how often both agree; detached.
        """
        waited = self.waits
        logits, losses = self.teacher.ask(batch)
        targets = self._targets(logits)
        old = self._labelled_loss(batch["labelled"]) if self._differs and not waited else None
        told = super().step({"unlabelled": batch["unlabelled"]._replace(targets=targets)})
        feedback, correction = torch.zeros(2, device=logits.device)
        if not waited and self.options.feedback != "none":
            feedback, correction = self._feedback(batch["labelled"], logits, targets, old)
        losses["loss"] = losses["loss"] + correction
        self.teacher.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.teacher.apply()
        noted = {"feedback": feedback, "feedback_positive": (feedback > 0).float()}
        agree = self._answer[: len(logits)].argmax(1) == logits.argmax(1)
        noted |= {"agreement": agree.float().mean()}
        noted |= {f"teacher/{name}": value.detach() for name, value in losses.items()}
        for method in self.teacher.methods:
            noted |= method.notes
        return told | noted

    # --- what the teacher says

    def _targets(self, logits: Tensor) -> Tensor:
        """Class probabilities (N, K) to learn from: sampled one-hot rows, or the answer itself."""
        probs = logits.detach().softmax(1)
        if self._soft:
            return probs.requires_grad_()
        # of a teacher that diverged nothing can be drawn: the student's loss is to tell
        lost = probs.isnan()
        drawn = torch.multinomial(probs.masked_fill(lost, 1.0), 1)
        return torch.zeros_like(probs).scatter_(1, drawn, 1.0).masked_fill(lost, torch.nan)

    @property
    def _soft(self) -> bool:
        return self.options.labels == "soft"

    @property
    def _differs(self) -> bool:
        return self.options.feedback == "loss_difference" and not self._soft

    # --- the student

    @property
    def waits(self) -> bool:
        """Whether the student does not learn yet."""
        return self.num_steps < self.options.student_wait

    @property
    def rate(self) -> float:
        """The student's schedule begins when its waiting ends."""
        if self.waits:
            return 0.0
        wait = self.options.student_wait
        recipe = self.training.model_copy(update={"steps": self.training.steps - wait})
        return learning_rate(recipe, self.age)

    @property
    def age(self) -> int:
        return self.num_steps - self.options.student_wait

    def forward(self, images: list[Tensor]) -> Output:
        output = self._on_copies(torch.cat(images)) if self._soft else super().forward(images)
        self._answer = output.logits.detach()
        return output

    def _on_copies(self, images: Tensor) -> Output:
        """By weights that the optimiser's step in place leaves alone: the graph is needed after."""
        trained = [(n, w) for n, w in self.network.named_parameters() if w.requires_grad]
        self._weights = {n: w.detach().clone().requires_grad_() for n, w in trained}
        with self.autocast():
            return functional_call(self.network, self._weights, (images,))

    def backward(self, loss: Tensor) -> None:
        if not self._soft:
            super().backward(loss)
            return
        grads = torch.autograd.grad(loss, list(self._weights.values()), create_graph=True)
        self._grads = dict(zip(self._weights, grads))
        ours = {n: w for n, w in self.network.named_parameters() if n in self._grads}
        # what methods say of the weights themselves does not depend on the labels
        kept = {"retain_graph": True, "allow_unused": True}
        added = torch.autograd.grad(loss, list(ours.values()), **kept)
        for (name, weight), more in zip(ours.items(), added):
            grad = self._grads[name].detach().clone()
            weight.grad = grad if more is None else grad + more

    def advance(self) -> None:
        if self.waits:
            self.num_steps += 1
            return
        if not self._soft and self.options.feedback == "inner_product":
            # copies: Nesterov's momentum is added to a gradient in place
            named = self.network.named_parameters()
            self._grads = {n: w.grad.clone() for n, w in named if w.grad is not None}
        super().advance()

    # --- what the teacher learns from the student

    def _feedback(
        self, labelled: Part, logits: Tensor, targets: Tensor, old: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The number h, for the record, and the loss that carries it to the teacher."""
        if self._soft:
            gradient = self._gradient_of_labels(labelled, targets)
            told = (logits.softmax(1) * gradient).sum()
            return -told.detach(), told
        raw = old - self._labelled_loss(labelled) if self._differs else self._product(labelled)
        h = raw - self.baseline
        decay = self.options.baseline_decay
        self.baseline = decay * self.baseline + (1 - decay) * raw
        losses = F.cross_entropy(logits, targets, reduction="none")
        return raw, h * (losses.sum() if self.options.scale == "sum" else losses.mean())

    def _product(self, labelled: Part) -> Tensor:
        """How far the step went downhill on the labelled loss, to first order."""
        return self._coefficient * _dot(self._labelled_gradient(labelled), self._grads)

    def _gradient_of_labels(self, labelled: Part, targets: Tensor) -> Tensor:
        """Of the new labelled loss with respect to soft labels (N, K)."""
        downhill = _dot(self._labelled_gradient(labelled), self._grads)
        [gradient] = torch.autograd.grad(-self._coefficient * downhill, [targets])
        return gradient

    @property
    def _coefficient(self) -> float:
        """d theta' / d gradient, with the sign turned; the momentum of earlier steps is added to
        the step and does not depend on these labels."""
        group = self.optimizer.param_groups[0]
        return group["lr"] * (1 + (group["momentum"] if group["nesterov"] else 0.0))

    def _labelled_loss(self, part: Part) -> Tensor:
        with torch.no_grad():
            return self._loss_of(part)

    def _labelled_gradient(self, part: Part) -> dict[str, Tensor]:
        named = {n: w for n, w in self.network.named_parameters() if n in self._grads}
        grads = torch.autograd.grad(self._loss_of(part), list(named.values()))
        return dict(zip(named, grads))

    def _loss_of(self, part: Part) -> Tensor:
        """The student's loss on labelled images, in the one state that is described above."""
        self.train_mode()
        with batch_statistics(self.network):
            logits = self.network(part.images).logits
        return cross_entropy(full(logits), part.targets)

    # --- what survives an interruption

    def state(self) -> dict[str, Tensor]:
        teacher = {f"teacher/{name}": value for name, value in self.teacher.state().items()}
        return super().state() | teacher | {"baseline": self.baseline}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_state(state)
        self.teacher.load_state(below(state, "teacher/"))
        self.baseline = state["baseline"].to(self.baseline.device)


def _dot(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
    """The inner product of two gradients with the same names."""
    return torch.stack([(one[name] * other[name]).sum() for name in one]).sum()
