import pytest
import torch

from lia_model.training.pairs.batch_share import BatchShare


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_ranks_share_out_every_pair_of_a_batch_once_in_whole_micro_batches(num_ranks):
    shares = [BatchShare(4, 3, rank, num_ranks) for rank in range(num_ranks)]
    numbers = [share.numbers(120) for share in shares]
    assert [number for each in numbers for number in each] == list(range(120, 132))
    assert {len(each) % 3 for each in numbers} == {0}
    assert max(map(len, numbers)) - min(map(len, numbers)) in (0, 3)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_the_mean_over_ranks_of_weighted_losses_is_the_mean_over_micro_batches(num_ranks):
    losses = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    sums = []
    for rank in range(num_ranks):
        share = BatchShare(4, 1, rank, num_ranks)
        sums.append(sum(share.factor * float(losses[number]) for number in share.numbers(0)))
    assert sum(sums) / num_ranks == pytest.approx(float(losses.mean()), rel=1e-15)


def test_a_share_is_split_into_its_micro_batches(train_settings):
    settings = train_settings.model_copy(update={"global_batch_size": 12, "micro_batch_size": 2})
    share = BatchShare.of(settings, rank=1, num_ranks=4)
    # Six micro-batches among four ranks: the first two ranks have two, the others one.
    assert list(share.numbers(24)) == [28, 29, 30, 31]
    assert share.factor == 4 / 6
    assert [list(each) for each in share.split(torch.arange(4))] == [[0, 1], [2, 3]]


def test_more_workers_than_micro_batches_are_refused():
    with pytest.raises(ValueError, match="got 3 workers and 2 micro-batches; every worker needs"):
        BatchShare(2, 8, 0, 3)
