"""Each sample's image as the bytes of a file: its own where it has one, else a lossless PNG."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer import progress
from fer.data.headers import how_stored
from fer.data.pixels import read_image, reason
from fer.data.samples import Files, Samples, readable
from fer.data.squares import cut
from fer.environment import usable_cores
from fer.errors import DatasetError, listing

_CHUNK = 64  # images that are encoded side by side
_OTHER_NAMES = {"jpe": "jpg", "jfif": "jpg", "dib": "bmp", "tif": "tiff"}  # endings that other programs may not know


class Encoded(NamedTuple):
    """An image as the bytes of a file."""

    row: int
    """Its row in the samples."""
    ending: str
    """``jpg``, ``png``, ..."""
    content: bytes


def encoded(samples: Samples, rows: Sequence[int], fit: str, done: int = 0) -> Iterator[Encoded]:
    """Yield the images of some rows; each file is decoded once, to see that it can be.

    Args:
        samples: The dataset.
        rows: Which of its images, in their order.
        fit: How the part of a picture that a sample is becomes square.
        done: How many an earlier start has packed, for the progress bar.

    Raises:
        DatasetError: Naming all images that cannot be read, after the last one.
    """
    bits = _bits(samples.files) if samples.files else 16

    def encode(row: int) -> Encoded | str:
        if samples.files is None:
            return Encoded(row, "png", _png(samples.images[row]))
        path = samples.files.root / samples.files.paths[row]
        try:
            image = read_image(path)
            if samples.files.boxes and (box := samples.files.boxes[row]):
                return Encoded(row, "png", _png(cut(image if bits == 16 else read_image(path, bits=bits), box, fit)))
            ending = PurePath(path.name).suffix.lower().removeprefix(".")
            return Encoded(row, _OTHER_NAMES.get(ending, ending), path.read_bytes())
        except Exception as error:  # decoders raise anything for a broken file
            return readable(f"{samples.files.paths[row]}: {reason(path, error)}")

    problems: list[str] = []
    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        progress.bar("packing", done + len(rows), at_least=5_000, done=done) as bar,
    ):
        for start in range(0, len(rows), _CHUNK):
            for item in threads.map(encode, rows[start : start + _CHUNK]):
                bar.update()
                if isinstance(item, str):
                    problems.append(item)
                elif not problems:  # else nothing more is packed, but what else is broken is looked for
                    yield item
    if problems:
        where = samples.files.root if samples.files else ""
        raise DatasetError(
            f"{len(problems)} of {len(rows)} images in {where} cannot be used:\n{listing(problems)}\n"
            f"  Replace or remove them, or leave them out with data.exclude=<a csv file with a column id>."
        )


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _bits(files: Files) -> int:
    """Return how many bits 16-bit values use, where parts of pictures are taken: those are stored with eight."""
    if not files.boxes or not any(files.boxes):
        return 16
    return how_stored(files.root, files.paths, 1, None, files.boxes).bits
