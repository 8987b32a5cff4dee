"""How a dataset's images are to be stored, from their files' headers."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fer import progress
from fer.data.blocks import MANY, PART, in_threads
from fer.data.pixels import GREY_MODES, bits_used, is_wide, open_image
from fer.data.samples import readable
from fer.data.squares import DEFAULT_FIT, Box
from fer.data.tars import Member, Tars, at_hand
from fer.errors import ConfigError, DatasetError

log = logging.getLogger(__name__)


class Stored(NamedTuple):
    """How a dataset's images are stored."""

    size: int
    """Side in pixels."""
    channels: int | None
    """1 or 3; None if only the pixels can tell."""
    bits: int = 16
    """Number of bits used in 16-bit values."""


@dataclass
class _Headers:
    """What the headers of some images say.

    Attributes:
        sizes: Width and height, and the first image of them.
        modes: Pillow's modes.
        wide: Images with more than 8 bits a value.
        oblong: Number of images that are not square.
    """

    sizes: dict[tuple[int, int], str]
    modes: set[str]
    wide: list[Path | Member]
    oblong: int

    def add(self, others: "_Headers") -> None:
        """Add what others say, which come after these."""
        for size, name in others.sizes.items():
            self.sizes.setdefault(size, name)
        self.modes |= others.modes
        self.wide += others.wide
        self.oblong += others.oblong


def how_stored(
    root: Path | Tars,
    names: Sequence[str],
    image_size: int | None,
    channels: int | None,
    boxes: Sequence[Box | None] | None = None,
    fit: str = DEFAULT_FIT,
) -> Stored:
    """Decide the size and channels that images are stored with, from their headers.

    Images of one common square size keep it, unless ``image_size`` is smaller; all others are resized to
    ``image_size``.

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        image_size: Side in pixels; None for the images' own.
        channels: 1 for grey, 3 for RGB, None for the images' own.
        boxes: The part of each image that is stored; None for the whole of each.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.

    Raises:
        DatasetError: If the images differ in size or are not square, and ``image_size`` is None.
        ConfigError: If ``channels`` is none of the three.
    """
    if channels not in (1, 3, None):
        raise ConfigError(f"data.channels={channels}: must be 1 (grey), 3 (RGB) or null (as the images are).")

    def look(part: int) -> _Headers:
        found = _Headers({}, set(), [], 0)
        rows = slice(part * PART, min((part + 1) * PART, len(names)))
        for number, file in enumerate(at_hand([root / name for name in names[rows]]), start=rows.start):
            box = boxes[number] if boxes else None
            try:
                with open_image(file) as image:
                    width, height = image.size if box is None else (box[2] - box[0], box[3] - box[1])
                    found.modes.add(image.mode)
                    found.wide.extend([root / names[number]] if is_wide(image) else [])
            except Exception:  # decoders raise anything; decode_images reports broken files, all together
                continue
            found.oblong += width != height
            if fit == "crop":
                width = height = min(width, height)
            found.sizes.setdefault((width, height), names[number])
        return found

    whole = _Headers({}, set(), [], 0)
    parts = range(math.ceil(len(names) / PART))
    with progress.counted("looking at images", "images", len(names), MANY) as update, in_threads(look, parts) as found:
        for part, headers in zip(parts, found, strict=True):
            whole.add(headers)
            update(min(PART, len(names) - part * PART))
    if whole.oblong:
        done = {"pad": "padded to squares", "crop": "cropped to the square in their middle", "stretch": "stretched"}
        log.info("%s: %d of %d images are not square; they are %s (data.fit=%s).",
                 root, whole.oblong, len(names), done[fit], fit)  # fmt: skip
    if channels is None and whole.modes <= GREY_MODES:
        channels = 1
    return Stored(_side(root, whole.sizes, image_size), channels, _bits(root, whole.wide))


def _side(root: Path | Tars, sizes: dict[tuple[int, int], str], image_size: int | None) -> int:
    smallest, largest = (choose(sizes, key=math.prod, default=(1, 1)) for choose in (min, max))
    if len(sizes) <= 1 and smallest[0] == smallest[1] and (image_size is None or image_size >= smallest[0]):
        return smallest[0]
    if image_size is None:
        found = f"images of {smallest[0]}x{smallest[1]} pixels"
        if len(sizes) > 1:
            found = (
                f"images of {len(sizes)} sizes, from {smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]} "
                f"({readable(sizes[smallest])}, {readable(sizes[largest])})"
            )
        raise DatasetError(
            f"{root} has {found}, but a network takes squares of one size. "
            f"Say to which size they are resized, for example data.image_size=112."
        )
    return image_size


def _bits(root: Path | Tars, wide: Sequence[Path | Member]) -> int:
    bits = bits_used(wide) if wide else 16
    if bits < 16:
        log.warning(
            "%s: the values of %d 16-bit images (such as %s) use %d bits only; white is taken to be %d, or they would "
            "be dark.",
            root, len(wide), readable(wide[0].name), bits, 2**bits - 1,
        )  # fmt: skip
    return bits
