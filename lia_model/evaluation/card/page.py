"""The card of a version as one HTML file with its pictures inside; `page.html` lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lia_model.evaluation.card.facts import CardFacts
from preprocessing.html_page import Strip, render


def card_page(facts: CardFacts, strips: Sequence[Strip]) -> str:
    """Return the card as HTML, with pictures of held-out pairs."""
    return render(Path(__file__).with_suffix(".html"), facts=facts, strips=strips)
