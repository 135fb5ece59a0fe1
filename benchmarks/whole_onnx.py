"""From an image to pasted masks: the whole model by onnxruntime beside PyTorch, with the same threads.

Both have the same random weights and find the same number of objects. The second row leaves out the masks of the image
on both sides. The rows of `predict` read images and write overlays and results as the command does, and leave out the
graph, whose time stands below the table.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from inference import CATEGORIES, HEIGHT, WIDTH, make_models
from PIL import Image
from side_by_side import print_machine, print_table, side_by_side

from maskx_pipeline.data.records import Category
from maskx_pipeline.evaluation.given_images import given_images
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.in_onnxruntime import OnnxModel
from maskx_pipeline.export_model.whole_onnx import OUTPUTS, WholeGraph, write_whole_onnx
from maskx_pipeline.whole_model import ImageModel, WholeModel


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=800, help="short side of the resized image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--images", type=int, default=2, help="of each call of predict")
    parser.add_argument(
        "--cpu-seconds", action="store_true", help="seconds of computing, where others use the cores too"
    )
    arguments = parser.parse_args()
    print_machine()
    clock = time.process_time if arguments.cpu_seconds else time.perf_counter
    model, half, _ = make_models(arguments.size, torch.device("cpu"))
    began = clock()
    in_onnx = OnnxModel(model, num_classes=CATEGORIES)
    graph = clock() - began
    how = {"repeats": arguments.repeats, "warm_up": arguments.warm_up, "clock": clock}
    print_table(
        [f"an image at {arguments.size} px", "onnxruntime, ms", "PyTorch, ms", "ratio", "detections of each"],
        compare(model, **how),
    )
    print()
    print_table(
        [f"`predict`, an image at {arguments.size} px", "this, ms", "PyTorch in float32, ms", "ratio"],
        compare_predict(model, {"onnxruntime": in_onnx, "PyTorch in bf16": half}, arguments.images, **how),
    )
    print(f"\nthe graph: {graph:.1f} s")


def compare(
    model: WholeModel, *, repeats: int, warm_up: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[str]]:
    """Time both ways on the CPU; a row with the masks of the image, and one without."""
    image = an_image(0)
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
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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

        measured = side_by_side(in_onnxruntime, in_torch, repeats=repeats, warm_up=warm_up, clock=clock)
        rows.append([name, *measured.cells(), " and ".join(map(str, counts))])
    return rows


def compare_predict(
    model: WholeModel,
    others: dict[str, ImageModel],
    images: int,
    *,
    repeats: int,
    warm_up: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[str]]:
    """Time `predict` from files to files on the CPU; a row for each that is compared with the model in float32."""
    categories = tuple(Category(label, f"category {label}", label) for label in range(1, CATEGORIES + 1))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(images):
            Image.fromarray(an_image(number).numpy()).save(Path(folder) / f"{number}.png")
        given = given_images([Path(folder)])
        calls = itertools.count()

        def predict(by: ImageModel) -> Callable[[], object]:
            return lambda: predict_folder(
                by,
                given,
                out=Path(folder) / f"out-{next(calls)}",
                categories=categories,
                seen=[1],
                score_threshold=0.5,
            )

        for name, other in others.items():
            measured = side_by_side(predict(other), predict(model), repeats=repeats, warm_up=warm_up, clock=clock)
            rows.append([name, *measured.cells(each=images)])
    return rows


def an_image(seed: int) -> torch.Tensor:
    """Coloured blocks, uint8[H, W, 3]."""
    image = torch.randint(256, (HEIGHT // 16, WIDTH // 16, 3), generator=torch.Generator().manual_seed(seed))
    return image.byte().repeat_interleave(16, 0).repeat_interleave(16, 1)


if __name__ == "__main__":
    main()
