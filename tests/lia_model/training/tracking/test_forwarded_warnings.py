import logging

from lia_model.registry.run_journal import RunJournal, entries
from lia_model.training.tracking.forwarded_warnings import forwarded_warnings

ours = logging.getLogger("preprocessing.storage.outage")


def test_our_warnings_inside_the_block_and_no_others_reach_the_journal(tmp_path):
    ours.warning("before")
    with forwarded_warnings(RunJournal(tmp_path)):
        ours.warning("the store is down (%s)", "checkpoint_1")
        ours.info("detail")
        logging.getLogger("ray.train").warning("Ray's")
    ours.warning("after")
    ((line, _),) = entries(tmp_path)
    assert line["warning"] == "the store is down (checkpoint_1)"
