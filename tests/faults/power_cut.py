"""What may be on the disk after a power cut: from the calls up to then, whatever nobody waited for may be missing.

The model is stricter than file systems are. Of what was written to a file and not synced since, any sectors may be
there; of the names that were made, moved or removed in a folder that was not synced since, any may be, whether or not
the file's content is. What was synced is there.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from write_log import Call

_SECTOR = 512

Tree = dict[str, bytes | None]
"""Content by path; None for a folder."""

Keep = Callable[[int], bool]
"""Whether a call that nobody waited for has come to the disk; asked for each sector and for each name in turn."""


@dataclass
class _File:
    content: bytearray | None  # None for a folder
    pending: list[Call] = field(default_factory=list)


class Disk:
    """A folder, as far as it is on the disk, and what was not waited for."""

    def __init__(self, root: Path, tree: Mapping[str, bytes | None], nodes: Mapping[str, int]) -> None:
        self.root = str(root.resolve())
        self._names = {path: _File(None if c is None else bytearray(c)) for path, c in tree.items()}
        self._by_node = {nodes[path]: file for path, file in self._names.items()}
        self._pending: list[tuple[Call, _File]] = []

    def call(self, call: Call) -> None:
        """Take a call into account."""
        if call.kind in "cm":
            self._by_node[call.node] = _File(None if call.kind == "m" else bytearray())
        if call.kind == "d":
            for done in [p for p in self._pending if str(Path(p[0].path).parent) == call.path]:
                self._rename(self._names, *done)
            self._pending = [p for p in self._pending if str(Path(p[0].path).parent) != call.path]
        file = self._by_node.get(call.node)
        if file is None:
            return
        if call.kind in "cmru":
            self._pending.append((call, file))
        elif call.kind in "wt":
            file.pending.append(call)
        elif call.kind == "s":
            file.content = self._content(file, lambda _: True)
            file.pending.clear()

    def tree(self, keep_data: Keep, keep_name: Keep) -> Tree:
        """What is found after a power cut."""
        names = dict(self._names)
        for number, (call, file) in enumerate(self._pending):
            if keep_name(number):
                self._rename(names, call, file)
        found: Tree = {}
        for path in sorted(names):
            parent = str(Path(path).parent)
            if parent == self.root or parent in names:
                content = self._content(names[path], keep_data)
                found[path] = None if content is None else bytes(content)
        return found

    def cuts(self, seed: int) -> Iterator[Tree]:
        """Some of all that may be found if the power fails now, among them the extremes."""
        generator = random.Random(seed)
        count = len(self._pending)

        def some(_: int) -> bool:
            return generator.random() < 0.5

        ends: Sequence[Keep] = (lambda _: False, lambda _: True)
        for data in ends:
            for name in ends:
                yield self.tree(data, name)
            for chosen in range(count if count > 1 else 0):
                yield self.tree(data, lambda n, c=chosen: n == c)
                yield self.tree(data, lambda n, c=chosen: n != c)
        for name in (*ends, some):
            for _ in range(2):
                yield self.tree(some, name)

    def _content(self, file: _File, keep: Keep) -> bytearray | None:
        if file.content is None:
            return None
        content, number = bytearray(file.content), 0
        for call in file.pending:
            if call.kind == "t":
                if keep(number):
                    content = content[: call.number].ljust(call.number, b"\0")
                number += 1
                continue
            first = call.number
            while first < call.number + len(call.data):
                last = min((first // _SECTOR + 1) * _SECTOR, call.number + len(call.data))
                if keep(number):
                    if last > len(content):
                        content.extend(bytes(last - len(content)))
                    content[first:last] = call.data[first - call.number : last - call.number]
                first, number = last, number + 1
        return content

    @staticmethod
    def _rename(names: dict[str, _File], call: Call, file: _File) -> None:
        if call.kind in "cm":
            names[call.path] = file
        elif call.kind == "r":
            inside = [path for path in names if path.startswith(f"{call.path}/")]
            for path in inside:
                names[call.to + path[len(call.path) :]] = names.pop(path)
            if names.get(call.path) is file:
                del names[call.path]
            names[call.to] = file
        elif names.get(call.path) is file:
            del names[call.path]


def cuts_of(
    root: Path, before: Mapping[str, bytes | None], nodes: Mapping[str, int], calls: Sequence[Call]
) -> Iterator[tuple[int, int, Tree]]:
    """What may be found after a power cut: for every prefix of the calls, each state once.

    Yields:
        The calls before the cut, the last mark among them, and the state.
    """
    disk = Disk(root, before, nodes)
    known: set[bytes] = set()
    marked = 0
    for number in range(len(calls) + 1):
        for tree in disk.cuts(number):
            digest = hashlib.sha256(str(marked).encode())
            for path, content in tree.items():
                digest.update(path.encode() + (b"/" if content is None else hashlib.sha256(content).digest()))
            if digest.digest() not in known:
                known.add(digest.digest())
                yield number, marked, tree
        if number < len(calls):
            call = calls[number]
            marked = call.number if call.kind == "x" else marked
            disk.call(call)


def read_tree(root: Path) -> tuple[Tree, dict[str, int]]:
    """What is in a folder, and the inodes."""
    paths = sorted(root.resolve().rglob("*"))
    tree: Tree = {str(path): None if path.is_dir() else path.read_bytes() for path in paths}
    return tree, {str(path): path.stat().st_ino for path in paths}


def write_tree(root: Path, tree: Tree) -> None:
    """Make a folder what it was after a power cut."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            Path(path).mkdir()
        else:
            Path(path).write_bytes(content)
