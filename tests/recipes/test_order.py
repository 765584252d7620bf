"""The order of rows: everything once an epoch, the same for the same seed and epoch, batches of about one length."""

from hypothesis import given
from hypothesis import strategies as st

from recipes.order import EpochOrder

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 16), st.integers(0, 3), st.integers(0, 5))
def test_every_row_comes_once_an_epoch_grouped_or_not(lengths: list[int], batch: int, seed: int, epoch: int) -> None:
    for given_lengths in (lengths, None):
        order = EpochOrder(len(lengths), seed, given_lengths, batch)
        order.set_epoch(epoch)
        assert sorted(order) == list(range(len(lengths)))


def test_an_epoch_is_drawn_from_seed_and_epoch_alone() -> None:
    lengths = [n * 7 % 90 for n in range(100)]

    def epochs(seed: int, of: list[int]) -> list[list[int]]:
        order, drawn = EpochOrder(100, seed, lengths, 8), []
        for epoch in of:
            order.set_epoch(epoch)
            drawn.append(list(order))
        return drawn

    first, second = epochs(seed=0, of=[0, 1])
    assert first != second
    assert epochs(seed=0, of=[1, 1]) == [second, second]
    assert epochs(seed=1, of=[0]) != [first]


def test_the_rows_of_a_batch_are_of_about_one_length_and_batches_come_in_any_order() -> None:
    lengths = [1 + n * 37 % 400 for n in range(400)]
    order = list(EpochOrder(400, seed=0, lengths=lengths, batch=8))
    batches = [[lengths[row] for row in order[at : at + 8]] for at in range(0, 400, 8)]
    assert max(max(batch) - min(batch) for batch in batches) <= 10
    longest = [max(batch) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_the_incomplete_batch_comes_last_so_that_all_others_are_full_and_of_one_length() -> None:
    lengths = [5] * 17
    lengths[0] = 1
    order = list(EpochOrder(17, seed=0, lengths=lengths, batch=8))
    assert 0 in order[:16]
