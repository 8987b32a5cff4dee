"""Which part of a picture is taken where a dataset does not say where the face is."""

from pathlib import Path

from PIL import ExifTags, Image

from fer.data.images import Box


def centre_square(path: Path) -> Box | None:
    """Return the largest square in the middle of a picture, so that faces are not squashed; only its header is read.

    Returns:
        The box in the upright picture; None for the whole of one that is square, or cannot be read: decoding says why.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # stored on its side
                width, height = height, width
    except Exception:  # decoders raise anything
        return None
    if width == height:
        return None
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
