from dataclasses import FrozenInstanceError, fields

import pytest

from preprocessing.outcome import TEMPORARY_STATUSES, DownloadStatus, Failed, Filtered, Kept

OUTCOMES = [
    Kept(),
    Filtered("dark"),
    Filtered("blurry"),
    Failed("no video", retryable=False),
    Failed("no video", retryable=True),
    Failed("timed out", retryable=True),
]


def test_outcomes_are_equal_exactly_if_their_content_is():
    copies = [
        type(one)(**{field.name: getattr(one, field.name) for field in fields(one)}) for one in OUTCOMES
    ]
    assert [[one == other for other in copies] for one in OUTCOMES] == [
        [row == column for column in range(6)] for row in range(6)
    ]
    assert len({*OUTCOMES, *copies}) == 6


@pytest.mark.parametrize("outcome", [Filtered("dark"), Failed("no video", retryable=False)])
def test_an_outcome_cannot_be_changed(outcome):
    with pytest.raises(FrozenInstanceError):
        setattr(outcome, fields(outcome)[0].name, "other")


def test_a_status_reads_and_writes_as_its_name_in_lower_case():
    assert [str(status) for status in DownloadStatus] == [status.name.lower() for status in DownloadStatus]
    assert [DownloadStatus(str(status)) for status in DownloadStatus] == list(DownloadStatus)


def test_each_status_is_either_temporary_or_final():
    final = {
        DownloadStatus.VERIFIED,
        DownloadStatus.PERMANENT,
        DownloadStatus.INVALID,
        DownloadStatus.FORGOTTEN,
    }
    assert set(TEMPORARY_STATUSES) == set(DownloadStatus) - final
