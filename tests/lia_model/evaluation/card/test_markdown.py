from lia_model.evaluation.card.markdown import (
    MAX_DESCRIPTION_CHARS,
    artifact_address,
    card_description,
    card_markdown,
)


def test_the_card_has_the_verdict_the_means_with_intervals_and_the_pictures(facts):
    text = card_markdown(facts, [("Best: a_b", "pictures/a.png")])
    assert text.startswith("# lia version 3\n")
    assert "not promoted: not better than doing nothing." in text
    assert "| this model | 0.1000 (0.0900 to 0.1100) |" in text
    assert "![Best: a\\_b](pictures/a.png)" in text


def test_names_from_elsewhere_are_no_markup(facts):
    assert "CC \\<BY\\> \\*4.0\\* (2 videos)" in card_markdown(facts, [])


def test_a_long_card_is_cut_between_lines_and_says_where_the_whole_is(facts):
    text = card_markdown(facts, [(f"picture {number}", f"pictures/{number}.png") for number in range(200)])
    shown = card_description(text, "r1", "card/lia-3.md")
    assert len(shown) <= MAX_DESCRIPTION_CHARS
    head, end = shown.split("\n\nShortened; ")
    assert text.startswith(head + "\n")
    assert end == "the whole card is card/lia-3.md of the run r1.\n"
    assert card_description("short", "r1", "card/lia-3.md") == "short"


def test_the_address_of_a_file_is_that_of_mlflows_server():
    assert artifact_address("r1", "evaluate/a b.png") == "get-artifact?path=evaluate%2Fa+b.png&run_uuid=r1"
