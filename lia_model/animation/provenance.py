"""What a result says about its origin, as tags of the mp4: that it is synthetic, by which model, from what.

`digital_source_type` is IPTC's term for media made by a trained model, which programs that label such media
look for. The tags can be removed; they inform, and prove nothing.
"""

from pathlib import Path

from preprocessing.storage.files import file_sha256

TRAINED_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def provenance_tags(model: str, fingerprint: str, source: Path) -> dict[str, str]:
    """Return the tags of an animation.

    Args:
        model: URI of the model with its version, or the name of its checkpoint.
        fingerprint: the animator's, which tells unregistered models apart.
        source: the file of the person who was animated; its hash is told, not its name.
    """
    return {
        "comment": f"Synthetic: a portrait animated by the model {model}",
        "synthetic": "true",
        "digital_source_type": TRAINED_MODEL,
        "model": model,
        "model_sha256": fingerprint,
        "source_sha256": file_sha256(source),
    }
