"""Several machines, as far as one can be two: an agent of torchrun for each, on the loopback or on a network of two."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ranks_world import TORCHRUN, contents, environment, maskx

pytestmark = pytest.mark.slow


class Network(NamedTuple):
    """Where two agents meet, and the words before the command of each that make it another machine."""

    endpoint: str
    machines: tuple[list[str], list[str]]


@pytest.fixture(params=["loopback", "names and addresses of their own"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if request.param == "loopback":
        yield Network(f"127.0.0.1:{port}", ([], []))
        return
    names = [f"maskx{os.getpid()}{letter}" for letter in "ab"]
    if os.geteuid() != 0 or not shutil.which("ip") or subprocess.run(["ip", "netns", "add", names[0]]).returncode:
        pytest.skip("needs root, `ip`, and the right to make network namespaces")
    addresses = ["10.77.0.1", "10.77.0.2"]
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in zip(addresses, names, strict=True)))
    become = f"mount --bind {hosts} /etc/hosts && hostname $0 && exec " + '"$@"'  # both for this process alone
    try:
        _ip("netns", "add", names[1])
        _ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, address in zip(names, addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        first, second = (["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", become, name] for name in names)
        yield Network(f"{names[0]}:{port}", (first, second))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name])


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def test_two_agents_that_meet_on_the_network_do_what_one_process_does(network: Network, project: Path) -> None:
    """Each has one process; one of the two writes, and only that one prints."""
    words = ("evaluate", "--from", "images", "--split", "all", "--json")
    folder = project / "runs/transfer/one/evaluation/images-best"
    alone = maskx(project, *words)
    expected = contents(folder, "results.json", "box-iou.json", "ap-all.json")
    for path in folder.iterdir():
        path.unlink()
    where = ("--rdzv-backend", "c10d", "--rdzv-endpoint", network.endpoint, "--rdzv-id", "1")
    start = [sys.executable, *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", *where, "-m", "maskx_pipeline"]
    agents = [
        subprocess.Popen(
            [*machine, *start, *words],
            cwd=project,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for machine in network.machines
    ]
    said = [agent.communicate(timeout=240) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert sorted(output for output, _ in said) == ["", alone.stdout]
    assert contents(folder, "results.json", "box-iou.json", "ap-all.json") == expected
