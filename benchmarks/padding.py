"""How much of a training batch is padding, in shuffled batches and in maskx's, on the shapes of an annotation file.

Images are resized as the detector does it (short side 800, long side at most 1333), and a batch is padded to its
highest and its widest image, each rounded up to a multiple of 32. The figure is padded pixels over the images' own.
Beside the images of the file, so many as COCO has are drawn from their shapes, since in a small file the last batches
of an epoch count for more.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.image_order import epoch_order

SHORT, LONG, MULTIPLE = 800, 1333, 32
COCO = 118_287
EPOCHS = 12
PER_GPU = (1, 2, 4, 8, 16)

Sizes = NDArray[np.float64]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="an annotation file")
    parser.add_argument("--batch", type=int, default=16, help="images of a step, over all GPUs")
    options = parser.parse_args()
    images = json.loads(options.file.read_text(encoding="utf-8"))["images"]
    own = np.array([(image["height"], image["width"]) for image in images], dtype=float)
    many = own[np.random.default_rng(0).integers(0, len(own), COCO)]
    print(f"| images | images of a step on a GPU | shuffled | like shapes | shuffled / like shapes |\n{'| ---: ' * 5}|")
    for sizes, epochs in ((own, 12 * EPOCHS), (many, 1)):
        for per_gpu in PER_GPU:
            plain, grouped = (padded_share(sizes, options.batch, per_gpu, epochs, group=on) for on in (False, True))
            print(f"| {len(sizes):,} | {per_gpu} | {plain:.3f} | {grouped:.3f} | {plain / grouped:.2f}x |")


def padded_share(sizes: Sizes, batch: int, per_gpu: int, epochs: int, *, group: bool) -> float:
    """Pixels of the padded batches over the pixels of the images, in an endless row of epochs.

    Args:
        sizes (FloatArray[N, 2]): height and width of each image.
        batch: Images of a step; GPU r of G has every G-th of them, from the r-th on.
    """
    wide = sizes[:, 1] >= sizes[:, 0]
    alike = wide if group else np.ones_like(wide)
    orders = [epoch_order(alike, seed=0, epoch=epoch, images_per_batch=batch) for epoch in range(epochs)]
    steps = np.concatenate(orders)
    steps = steps[: len(steps) // batch * batch].reshape(-1, batch)
    shown = resized(sizes)[steps]  # [steps, batch, 2]
    shares = shown.reshape(len(steps), per_gpu, batch // per_gpu, 2)
    frames = np.ceil(shares.max(axis=1) / MULTIPLE) * MULTIPLE  # [steps, GPUs, 2]
    return float(frames.prod(axis=-1).sum() * per_gpu / shown.prod(axis=-1).sum())


def resized(sizes: Sizes) -> Sizes:
    """Heights and widths as the detector sees them."""
    scale = np.minimum(SHORT / sizes.min(axis=1), LONG / sizes.max(axis=1))
    return np.floor(sizes * scale[:, None])


if __name__ == "__main__":
    main()
