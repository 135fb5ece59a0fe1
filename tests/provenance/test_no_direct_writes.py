"""Every file is written through provenance/files.py: the package's source is read for calls that write otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "maskx_pipeline"

ALLOWED = {
    ("provenance/files.py", None): "it is what the others write through",
    ("provenance/room.py", "check_room"): "its caller gives it the temporary file, still empty",
    ("provenance/seals.py", "seal_file"): "its caller gives it the temporary file",
    ("provenance/seals.py", "append_seal"): "its caller gives it the temporary file",
    ("cache/checksums.py", "seal_cache"): "its caller gives it the temporary or unfinished cache, and it syncs",
    ("engine/checkpoint.py", "save_state"): "a stream of the temporary file",
    ("provenance/lock.py", "_acquire"): "a lock file holds nothing that anyone needs after a power cut",
    ("provenance/lock.py", "_open"): "a lock file holds nothing that anyone needs after a power cut",
    ("cache/restructure.py", "recover"): "it copies a redo file that is on the disk, and syncs",
    ("cache/writer.py", "_open"): "rows of the unfinished cache, which is a fixed layout with commits",
    ("annotate/fill_file.py", "annotate"): "its caller gives it the temporary file",
    ("annotate/review_folder.py", "_write_data"): "inside the temporary folder of a review",
    ("annotate/review_pictures.py", "write_pictures"): "inside the temporary folder of a review",
    ("convert/coco_like.py", None): "into the temporary files that its context gives it",
    ("convert/found.py", "__init__"): "its caller gives it the temporary file",
    ("convert/report.py", "write_report"): "its caller gives it the temporary file",
    ("convert/hand_over.py", "place"): "inside the temporary folder of a hand-over",
    ("convert/to_coco.py", None): "inside the temporary folder of a hand-over",
    ("convert/to_labelme.py", None): "inside the temporary folder of a hand-over",
    ("convert/to_voc.py", None): "inside the temporary folder of a hand-over",
    ("convert/to_yolo.py", None): "inside the temporary folder of a hand-over",
    ("convert/visual_genome_write.py", "__init__"): "its caller gives it the temporary file",
    ("engine/tensorboard.py", "_write_event"): "a stream that TensorBoard reads meanwhile; written anew at a resume",
    ("commands/__init__.py", "_open_standard_streams"): "the null device",
    ("stages/tune_fits.py", "_start"): "the null device",
}
"""File and function (None: all of it): why it may."""

_WRITERS = {
    "write_text", "write_bytes", "save", "savefig", "save_file", "to_csv", "tofile", "savez", "dump",
    "export", "imwrite", "copyfile", "copy2", "copytree", "move", "rename", "touch", "symlink_to", "hardlink_to",
    "link", "mkstemp", "NamedTemporaryFile", "mkdir", "makedirs", "pwrite", "truncate", "ftruncate",
}  # fmt: skip
_OPENERS = {"open", "File", "open_hdf5", "fdopen", "memmap"}
_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}


def _name(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _writes(call: ast.Call) -> bool:
    name = _name(call)
    if name in _OPENERS:
        words = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        modes = [word for word in words if word and set(word) <= set("rwaxbt+")]
        flags = {n.attr for n in ast.walk(call) if isinstance(n, ast.Attribute)}
        return any(set(mode) & set("wax+") for mode in modes) or bool(flags & _FLAGS)
    if name == "replace":  # of a path: with one argument
        return len(call.args) == 1 and not call.keywords and isinstance(call.func, ast.Attribute)
    if name == "write_text" or name == "write_bytes":
        return isinstance(call.func, ast.Attribute)  # the functions of files.py are called by their names
    return name in _WRITERS and (name != "save" or bool(call.args or call.keywords))


def _temporaries(function: ast.AST) -> set[str]:
    """Names that stand for a temporary file or folder of files.py, or for a file in memory."""
    found: set[str] = set()
    for node in ast.walk(function):
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node, ast.With):
            pairs += [(item.optional_vars, item.context_expr) for item in node.items]
        elif isinstance(node, ast.Assign):
            pairs += [(target, node.value) for target in node.targets]
        for target, value in pairs:
            calls = {_name(n) for n in ast.walk(value) if isinstance(n, ast.Call)}
            makes = {"atomic_path", "atomic_folder", "noted_path", "BytesIO", "StringIO", "_Overlay"}
            if isinstance(target, ast.Name) and calls & makes:
                found.add(target.id)
    return found


def direct_writes(source: str) -> Iterator[tuple[str, int]]:
    """The function and line of each call that writes to something else than a temporary file of files.py."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    outer: dict[ast.AST, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
    for function in functions:
        for node in ast.walk(function):
            outer.setdefault(node, []).append(function)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not _writes(node):
            continue
        around = outer.get(node, [])
        known = set().union(*(_temporaries(function) for function in around))
        told = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        names = {n.id for part in (*told, *node.args) for n in ast.walk(part) if isinstance(n, ast.Name)}
        if not names & known:
            yield around[-1].name if around else "", node.lineno


def test_nothing_in_the_package_writes_a_file_past_the_helper() -> None:
    """A result that is not synced and renamed is torn or gone after a power cut."""
    found = []
    used = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        for function, line in direct_writes(path.read_text(encoding="utf-8")):
            key = next((k for k in ((file, None), (file, function)) if k in ALLOWED), None)
            used.add(key)
            if key is None:
                found.append(f"{file}:{line}, in {function}")
    assert found == []
    assert used >= set(ALLOWED)  # no exception is kept that nothing needs


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')", "path.open('ab')", "path.open(mode='x')", "io.open(path, 'r+')", "path.write_text('')",
        "path.write_bytes(b'')", "image.save(path)", "figure.savefig(path)", "frame.to_csv(path)", "json.dump(a, path)",
        "save_file(tensors, path)", "torch.save(a, path)", "torch.onnx.export(model, a, path)", "np.savez(path, a)",
        "h5py.File(path, 'w')", "open_hdf5(path, 'r+')", "os.replace(a, b) or a.replace(b)", "a.rename(b)",
        "os.open(path, os.O_RDWR)", "shutil.copyfile(a, b)", "path.mkdir()", "array.tofile(path)",
    ],
)  # fmt: skip
def test_each_way_to_write_is_found(line: str) -> None:
    """The test above would not see it else."""
    assert list(direct_writes(f"def f():\n    {line}\n"))


@pytest.mark.parametrize(
    "lines",
    [
        "with atomic_path(path) as temporary:\n        temporary.write_text('')",
        "with atomic_path(path) as temporary, temporary.open('w') as stream:\n        pass",
        "with atomic_path(path) as temporary:\n        torch.onnx.export(model, a, temporary)",
        "written = io.BytesIO()\n    image.save(written)",
        "path.open('rb')", "path.open()", "text.replace('a', 'b')", "state.save()", "write_text(path, '')",
    ],
)  # fmt: skip
def test_what_is_written_through_the_helper_is_not_found(lines: str) -> None:
    """And neither is reading."""
    assert not list(direct_writes(f"def f():\n    {lines}\n"))
