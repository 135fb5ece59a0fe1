"""Shell recipes in seconds: their calls of maskx are run in one process that has imported torch already."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from maskx_pipeline.commands import run

CLIENT = """#!{python} -IS
# Instead of maskx: hands the command line to the process of the test, and prints what it answers.
import json, os, socket, sys
call = {{"words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    connection.sendall(json.dumps(call).encode())
    connection.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
sys.stderr.write(answer["err"])
sys.stdout.write(answer["out"])
sys.exit(answer["code"])
"""


def run_script(script: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script to its end.

    Args:
        script: It calls maskx as the environment's MASKX.
        *arguments: Of the script.
        environment: Of the script.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskx-")))  # a socket's path is short
        client, address = folder / "maskx", folder / "socket"
        client.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        client.chmod(0o755)
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
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(call["folder"]),
            mock.patch.dict(os.environ, call["environment"], clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(call["words"])
        connection.sendall(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}).encode())
