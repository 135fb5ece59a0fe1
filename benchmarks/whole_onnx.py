"""From an image to pasted masks: the whole model by onnxruntime beside PyTorch, with the same threads.

Both have the same random weights and find the same number of objects. The second row leaves out the masks of the image
on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnxruntime
import torch
from inference import CATEGORIES, HEIGHT, WIDTH, make_models
from side_by_side import print_machine, print_table, side_by_side

from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.whole_onnx import OUTPUTS, WholeGraph, write_whole_onnx


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=800, help="short side of the resized image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    arguments = parser.parse_args()
    print_machine()
    print_table(
        [f"an image at {arguments.size} px", "onnxruntime, ms", "PyTorch, ms", "ratio", "detections of each"],
        compare(size=arguments.size, repeats=arguments.repeats, warm_up=arguments.warm_up),
    )


def compare(*, size: int, repeats: int, warm_up: int) -> list[list[str]]:
    """Time both ways on the CPU; a row with the masks of the image, and one without."""
    model, _, _ = make_models(size, torch.device("cpu"))
    image = torch.randint(256, (HEIGHT // 16, WIDTH // 16, 3), generator=torch.Generator().manual_seed(0))
    image = image.byte().repeat_interleave(16, 0).repeat_interleave(16, 1)
    array = image.numpy()
    graph = WholeGraph(
        model.detector.detector,
        BakedMaskHead(model.mask_model, CATEGORIES),
        roi_size=model.roi_size,
        pooling="assigned",
        half_features=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_whole_onnx(path, graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options)
    only = onnxruntime.RunOptions()
    only.only_execute_path_to_fetches = True
    counts = [0, 0]
    rows = []
    for name, outputs, pasted in (
        ("to the masks of the image", OUTPUTS, True),
        ("to the masks of RoIs", OUTPUTS[:-1], False),
    ):

        def in_onnxruntime(outputs: tuple[str, ...] = outputs) -> None:
            counts[0] = len(session.run(outputs, {"image": array}, only)[0])

        def in_torch(pasted: bool = pasted) -> None:
            found = model.predict(image.permute(2, 0, 1).float().div(255))
            if pasted:
                paste(found.mask_probs, found.boxes_xyxy, HEIGHT, WIDTH)
            counts[1] = len(found)

        measured = side_by_side(in_onnxruntime, in_torch, repeats=repeats, warm_up=warm_up)
        rows.append([name, *measured.cells(), " and ".join(map(str, counts))])
    return rows


if __name__ == "__main__":
    main()
