"""How good a model is: `pairs` names what is compared, `scores` measures, `summary` condenses."""
