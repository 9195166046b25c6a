"""Every random draw: a function of the seed, what it is for, and the step.

Nothing is drawn from a stream that lives on, so a resumed run needs no generator state
and a new consumer of randomness cannot shift the draws of another.
"""

import hashlib

import numpy as np


def seed_sequence(seed: int, *key: str | int) -> np.random.SeedSequence:
    """The SeedSequence of `seed` and a key such as `("g1", "order", epoch)`.

    Words go through SHA-256 (Python's own `hash` differs from process to process).
    """
    words = [_word(part) for part in key]
    return np.random.SeedSequence([seed, *words])


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A NumPy generator that depends on nothing but its arguments."""
    return np.random.default_rng(seed_sequence(seed, *key))


def torch_seed(seed: int, *key: str | int) -> int:
    """A 63-bit integer for a generator of torch, from the same rule."""
    return int(seed_sequence(seed, *key).generate_state(1, np.uint64)[0] >> 1)


def seed_torch(seed: int, *key: str | int) -> None:
    """Seed what torch draws by default, on all devices that are there, by the same rule.

    Without a GPU `torch.manual_seed` would keep every seed for one that may come, with the text of
    the stack: a step more slowly, and gigabytes in a million steps.
    """
    import torch

    number = torch_seed(seed, *key)
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def _word(part: str | int) -> int:
    if isinstance(part, str):
        return int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "little")
    return int(part)
