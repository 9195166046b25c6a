"""Batches are a pure function of the step, and go through every image once an epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.data.batches import Batches, Stream
from pipeline.data.packing import Packing

SIZE = 10


class Positions:
    """A view that writes what was drawn for a position into the image."""

    def draw(self, rng, num):
        return {"number": rng.random((num, 1))}

    def __call__(self, images, drawn):
        return torch.from_numpy(drawn["number"]).reshape(-1, 1, 1, 1).expand(images.shape)


def stream(num, view=None, size=SIZE):
    images = torch.arange(size, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(size, 1, 8, 8)
    targets = torch.nn.functional.one_hot(torch.arange(size)).float()
    return Stream(images, targets, num, view or Positions(), torch.arange(size) / size)


def batches(num=4, seed=0, model="g1", **streams):
    return Batches({"labelled": stream(num), **streams}, seed=seed, model=model)


def rows(made, steps, name="labelled"):
    return torch.cat([made(step)[name].rows for step in steps]).tolist()


def same(one, other):
    return one.keys() == other.keys() and all(
        a == b if isinstance(a, slice) else torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for name in one
        for a, b in zip(one[name], other[name])
    )


def test_any_order_of_steps_and_a_fresh_object_give_the_same_batches():
    made = batches()
    first = {step: made(step) for step in range(30)}
    for step in [29, 0, 13, 13, 7]:
        assert same(made(step), first[step]) and same(batches()(step), first[step])


def test_different_steps_seeds_and_models_give_different_batches():
    def drawn(**key):
        return [batches(**key)(step)["labelled"].images[:, 0, 0, 0].tolist() for step in range(3)]

    made = [*drawn(), *drawn(seed=1), *drawn(model="g2")]
    assert len({tuple(batch) for batch in made}) == 9
    assert rows(batches(), range(5)) != rows(batches(seed=1), range(5))
    assert rows(batches(), range(5)) != rows(batches(model="g2"), range(5))


@pytest.mark.parametrize("num", [1, 3, 4, 10, 25])
def test_every_image_comes_once_an_epoch_and_no_batch_is_short(num):
    made = batches(num)
    drawn = rows(made, range(2 * SIZE))
    assert len(drawn) == 2 * SIZE * num
    epochs = [drawn[start : start + SIZE] for start in range(0, len(drawn), SIZE)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_the_order_of_images_does_not_depend_on_the_batch_size():
    assert rows(batches(4), range(15)) == rows(batches(5), range(12))


def test_the_view_of_a_position_does_not_depend_on_the_batch_size():
    few, many = batches(4)(3)["labelled"], batches(9)(3)["labelled"]
    assert torch.equal(few.images, many.images[:4])


def test_an_image_that_comes_twice_in_a_batch_gets_two_views():
    part = batches(25)(0)["labelled"]
    twice = [part.images[part.rows == row][:, 0, 0, 0] for row in range(SIZE)]
    assert all(len(views.unique()) == len(views) >= 2 for views in twice)


def test_one_stream_does_not_change_another():
    alone, both = batches()(5), batches(pseudo=stream(7, size=4))(5)
    assert list(both) == ["labelled", "pseudo"] and len(both["pseudo"].rows) == 7
    assert same({"labelled": alone["labelled"]}, {"labelled": both["labelled"]})
    assert (
        both["pseudo"].images[:4, 0, 0, 0].tolist() != alone["labelled"].images[:, 0, 0, 0].tolist()
    )


def test_targets_and_weights_are_those_of_the_rows():
    given, part = stream(6), batches(6)(2)["labelled"]
    assert torch.equal(part.targets, given.targets[part.rows])
    assert torch.equal(part.weights, given.weights[part.rows])


def test_a_stream_without_targets_gives_none():
    bare = Stream(stream(1).images, None, 3, Positions())
    part = Batches({"labelled": bare}, seed=0, model="g1")(0)["labelled"]
    assert part.targets is None and part.weights is None and len(part.images) == 3


@pytest.mark.parametrize("shift", [0, 2])
def test_the_real_views_keep_the_property_of_positions(rng, shift):
    view = StrongView(WeakView(flip=True, shift=shift), RandAugment(n=2, m=9))
    images = torch.from_numpy(rng.integers(0, 256, (SIZE, 1, 8, 8), dtype=np.uint8))
    few, many = (
        Batches({"labelled": Stream(images, None, num, view)}, seed=0, model="g1")(0)["labelled"]
        for num in (3, 8)
    )
    assert few.images.dtype == torch.uint8
    assert torch.equal(few.images, many.images[:3])
    assert not torch.equal(many.images, images[many.rows])


def test_a_memory_map_gives_the_batches_that_a_tensor_gives(rng, tmp_path):
    images = rng.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "image.npy", images)
    index = rng.integers(0, 20, 33)
    made = []
    for array in (torch.from_numpy(images), np.load(tmp_path / "image.npy", mmap_mode="r")):
        stream = Stream(array, torch.eye(33), 7, WeakView(shift=1), index=index)
        made.append(Batches({"all": stream}, seed=0, model="m"))
    for step in range(6):
        one, two = (batches(step)["all"] for batches in made)
        assert torch.equal(one.images, two.images) and torch.equal(one.rows, two.rows)


def test_samples_are_the_images_that_the_index_names(rng):
    images = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1).expand(5, 1, 8, 8).contiguous()
    index = np.array([4, 4, 0, 2])
    stream = Stream(images, None, 4, WeakView(shift=0, flip=False), index=index)
    part = Batches({"all": stream}, seed=0, model="m")(0)["all"]
    assert part.images[:, 0, 0, 0].tolist() == index[part.rows.numpy()].tolist()


# --- one copy to a device ---------------------------------------------------------------------


def streams_of_all_kinds(rng, tmp_path):
    """On the device, by an index, from a memory map; with a weak, a strong, a cut out view."""
    images = rng.integers(0, 256, (SIZE, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "image.npy", images)
    mapped, index = np.load(tmp_path / "image.npy", mmap_mode="r"), np.array([4, 4, 0, 2, 9])
    weak, there = WeakView(shift=1), torch.from_numpy(images)
    strong = StrongView(weak, RandAugment(2, 9, magnitude_std=0.5, cutout=0.5))
    return {
        "labelled": Stream(there, torch.eye(SIZE), 3, weak, torch.rand(SIZE)),
        "pseudo": Stream(there, torch.eye(5), 7, strong, index=index, soft=True),
        "disk": Stream(mapped, None, 4, strong),
    }


def test_a_packed_batch_is_the_batch(rng, tmp_path):
    made = Batches(streams_of_all_kinds(rng, tmp_path), seed=0, model="m")
    for step in [0, 5, 3, 3, 40]:
        packed, plain = made.unpack(made.pack(step)), made(step)
        assert packed.keys() == plain.keys()
        for one, other in zip(packed.values(), plain.values()):
            for a, b in zip(one, other):
                assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_another_step_in_the_same_buffer_gives_its_batch(rng, tmp_path):
    made = Batches(streams_of_all_kinds(rng, tmp_path), seed=0, model="m")
    buffer = made.pack(0)
    for step in (7, 2):
        buffer.copy_(made.pack(step))
        packed, plain = made.unpack(buffer), made(step)
        for name in plain:
            assert torch.equal(packed[name].images, plain[name].images)
            assert torch.equal(packed[name].rows, plain[name].rows)


def test_arrays_of_any_type_lie_apart_and_come_back(rng):
    arrays = {
        "flag": rng.random(7) < 0.5,
        "byte": rng.integers(0, 256, (3, 5), dtype=np.uint8),
        "long": rng.integers(-9, 9, (4, 2)),
        "none": np.zeros((0, 3)),
        "double": rng.random(3),
    }
    packing = Packing(arrays)
    buffer = packing.pack(arrays)
    assert buffer.dtype == torch.uint8 and buffer.shape == (packing.size,)
    for name, value in packing.unpack(buffer).items():
        assert (
            np.array_equal(value.numpy(), arrays[name])
            and value.numpy().dtype == arrays[name].dtype
        )


def test_an_array_of_another_shape_is_refused(rng):
    packing = Packing({"row": np.arange(4)})
    with pytest.raises(ValueError, match=r"row: is \(3,\), was to be \(4,\)"):
        packing.pack({"row": np.arange(3)})


@pytest.mark.gpu
def test_a_batch_is_on_the_gpu_what_it_is_here(rng, tmp_path):
    here = streams_of_all_kinds(rng, tmp_path)
    there = {
        name: replace(
            one,
            images=one.images.cuda() if isinstance(one.images, torch.Tensor) else one.images,
            targets=None if one.targets is None else one.targets.cuda(),
            weights=None if one.weights is None else one.weights.cuda(),
            device=torch.device("cuda"),
        )
        for name, one in here.items()
    }
    on_cpu, on_gpu = (Batches(streams, seed=0, model="m") for streams in (here, there))
    on_gpu(0)  # tables of the views are made once
    torch.cuda.set_sync_debug_mode("error")
    batches = [on_gpu(step) for step in range(1, 9)]  # ahead of the device
    torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(batches, 1):
        plain = on_cpu(step)
        for name in plain:
            assert torch.equal(batch[name].rows.cpu(), plain[name].rows)
            off = (batch[name].images.cpu().int() - plain[name].images.int()).abs()
            assert off.max() <= 1 and (off == 0).float().mean() > 0.99
