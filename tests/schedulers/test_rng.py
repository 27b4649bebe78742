from __future__ import annotations

import pytest
import torch

from graphdiff.rng import Rng


def randn(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_a_stream_gives_what_torch_gives_for_the_seed() -> None:
    expected = randn(3, (1, 4, 5), (2, 3))
    rng = Rng.from_seed(3)
    first, rng = rng.normal((1, 4, 5))
    second, _ = rng.normal((2, 3))
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


def test_a_draw_does_not_change_what_was_drawn_from() -> None:
    rng = Rng.from_seed(3)
    first, advanced = rng.normal((4,))
    again, _ = rng.normal((4,))
    assert torch.equal(first, again)
    assert advanced != rng
    assert rng == Rng.from_seed(3)


def test_each_stream_gives_the_picture_that_its_seed_gives_alone() -> None:
    rng = Rng.from_seed([5, 6])
    for _ in range(2):
        batch, rng = rng.normal((2, 3, 4))
        assert batch.shape == (2, 3, 4)
    for i, seed in enumerate((5, 6)):
        alone = randn(seed, (1, 3, 4), (1, 3, 4))[1]
        assert torch.equal(batch[i : i + 1], alone)


def test_one_stream_gives_a_whole_batch() -> None:
    drawn, _ = Rng.from_seed([5]).normal((3, 2))
    assert torch.equal(drawn, randn(5, (3, 2))[0])


def test_a_batch_of_another_size_than_there_are_streams_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 3 from 2 streams"):
        Rng.from_seed([1, 2]).normal((3, 4))


def test_numbers_are_drawn_in_single_precision_and_then_cast() -> None:
    drawn, _ = Rng.from_seed(1).normal((100,), dtype=torch.float16)
    assert torch.equal(drawn, randn(1, (100,))[0].half())


def test_streams_are_split_and_joined() -> None:
    rng = Rng.from_seed([1, 2, 3])
    assert Rng.join(rng.split()) == rng
    assert [part.streams for part in rng.split()] == [(1,), (2,), (3,)]


def test_a_generator_goes_on_where_it_stands_and_is_left_there() -> None:
    generator = torch.Generator().manual_seed(9)
    torch.randn(7, generator=generator)
    state = generator.get_state()
    drawn, rng = Rng.from_generator(generator).normal((5,))
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(drawn, torch.randn(5, generator=generator))
    (other,) = rng.generators()
    assert torch.equal(torch.randn(5, generator=other), torch.randn(5, generator=generator))


def test_an_rng_is_plain_hashable_data() -> None:
    rng = Rng.from_seed([1, 2])
    assert hash(rng) == hash(Rng((1, 2)))
    _, advanced = rng.normal((2, 2))
    assert all(isinstance(stream, bytes) for stream in advanced.streams)
    assert len({rng, advanced, Rng.from_seed([1, 2])}) == 2


def test_impossible_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Rng.from_seed(2**64)
    with pytest.raises(ValueError, match="at least one"):
        Rng.from_seed([])


def test_entropy_is_one_number_a_stream_and_advances() -> None:
    rng = Rng.from_seed([1, 2])
    numbers, advanced = rng.entropy()
    assert len(set(numbers)) == 2
    assert all(0 <= number < 2**63 for number in numbers)
    assert advanced.entropy()[0] != numbers
    assert rng.entropy()[0] == numbers
