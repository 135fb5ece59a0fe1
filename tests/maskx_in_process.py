"""Shell recipes in seconds: their calls of maskx are run in one process that has imported torch already."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from maskx_pipeline.commands import run

CLIENT = """#!{python} -IS
# Instead of maskx or python: hands the command line to the process of the test, and prints what it answers.
import json, os, socket, sys
program = os.path.basename(sys.argv[0])
call = {{"program": program, "words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    connection.sendall(json.dumps(call).encode())
    connection.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
sys.stderr.write(answer["err"])
sys.stdout.write(answer["out"])
sys.exit(answer["code"])
"""


def run_script(
    script: Path, *arguments: str, environment: Mapping[str, str], on_path: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end.

    Args:
        script: It calls maskx as the environment's MASKX.
        *arguments: Of the script.
        environment: Of the script.
        on_path: It also calls `maskx`, and `python FILE`, as they are found on the PATH.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskx-")))  # a socket's path is short
        client, address = folder / "maskx", folder / "socket"
        client.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        client.chmod(0o755)
        if on_path:
            (folder / "python").symlink_to(client)
            environment = {**environment, "PATH": f"{folder}{os.pathsep}{environment['PATH']}"}
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(address))
        server.listen()
        server.settimeout(0.2)
        out, err = (stack.enter_context((folder / name).open("w+")) for name in ("out.txt", "err.txt"))
        started = subprocess.Popen(
            ["bash", str(script), *arguments], stdout=out, stderr=err, env={**environment, "MASKX": str(client)}
        )
        while started.poll() is None:
            with contextlib.suppress(TimeoutError):
                _answer(server.accept()[0])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(started.args, started.returncode, out.read(), err.read())


def _answer(connection: socket.socket) -> None:
    with connection:
        call: dict[str, Any] = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        out, err = _stream(), _stream()
        with (
            contextlib.chdir(call["folder"]),
            mock.patch.dict(os.environ, call["environment"], clear=True),
            mock.patch.object(sys, "argv", [call["program"], *call["words"]]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = _run_python(call["words"]) if call["program"] == "python" else run(call["words"])
            except SystemExit as error:
                code = _exit_code(error)
            except Exception:
                traceback.print_exc()
                code = 70
        connection.sendall(json.dumps({"code": code, "out": _text_of(out), "err": _text_of(err)}).encode())


def _stream() -> io.TextIOWrapper:
    """A file in memory, for text and for bytes."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text_of(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _run_python(words: list[str]) -> int:
    """`python FILE ARGUMENTS`, in this process."""
    sys.argv = list(words)
    runpy.run_path(words[0], run_name="__main__")
    return 0


def _exit_code(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else int(error.code is not None)
