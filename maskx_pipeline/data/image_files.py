"""Finding image files under the names that an annotation file gives them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


class ImageFiles:
    """The files of an image folder; each subfolder is listed once, since asking file by file is slow on networks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[str, dict[str, str]] = {}
        self._below: dict[str, str | None] | None = None

    def find(self, file_name: str) -> str | None:
        """The name on disk of an image, relative to the folder; None if it is not there.

        A backslash may stand for a slash, and a letter with an accent may be written as one character or as two. A name
        without a folder may lie in a subfolder, as some tools export it, where only one there has it.
        """
        for name in dict.fromkeys((file_name, file_name.replace("\\", "/"))):
            folder, last = os.path.split(name)
            found = self._names_in(folder).get(last) or self._names_in(folder).get(_plain(last))
            if found is not None:
                return f"{folder}/{found}" if folder else found
            real = self._real_folder(folder)
            if real != folder and (found := self._names_in(real).get(_plain(last))) is not None:
                return f"{real}/{found}"
        return None if "/" in file_name.replace("\\", "/") else self._names_below().get(_plain(file_name))

    def _names_below(self) -> dict[str, str | None]:
        """Where each name of the subfolders lies, None where it does so more than once; listed when it is needed."""
        if self._below is None:
            self._below = {}
            for place, subfolders, names in os.walk(self._folder):
                subfolders.sort()
                inside = Path(place).relative_to(self._folder)
                for name in names if inside.parts else ():
                    again = _plain(name) in self._below
                    self._below[_plain(name)] = None if again else (inside / name).as_posix()
        return self._below

    def _names_in(self, folder: str) -> dict[str, str]:
        """The names in a folder, by themselves and by their composed form."""
        if folder not in self._listed:
            path = self._folder / folder
            try:
                names = [entry.name for entry in os.scandir(path)]
            except (OSError, ValueError):  # not there, or a name that no folder can have
                names = []
            self._listed[folder] = {_plain(name): name for name in names} | {name: name for name in names}
        return self._listed[folder]

    def _real_folder(self, folder: str) -> str:
        """The folder in the spelling of the disk."""
        real = "/" if folder.startswith("/") else ""
        for part in filter(None, folder.split("/")):
            names = self._names_in(real)
            found = names.get(part) or names.get(_plain(part)) or part
            real = f"{real}{found}" if real in ("", "/") else f"{real}/{found}"
        return real


def _plain(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
