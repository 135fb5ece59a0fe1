"""pipelines/slurm.sh under a real SLURM: two nodes that are this machine under two names, each with a GPU by name only.

It needs SLURM's programs (`apt-get install slurm-wlm`) and root, as slurmd does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ranks_world import CHECKOUT, environment

PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
TORCHRUN = Path(sys.executable).with_name("torchrun")
NODES = (socket.gethostname(), "localhost")  # names that lead back to this machine

CONF = """\
ClusterName=two
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Sockets=1 CoresPerSocket=2 Gres=gpu:1
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Sockets=1 CoresPerSocket=2 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES State=UP
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(name, path=PATH) for name in PROGRAMS),
        reason="needs root and the programs of SLURM",
    ),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores"),
    pytest.mark.skipif(not TORCHRUN.exists(), reason="torchrun is not beside Python"),
]

Call = Callable[..., str]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Call]:
    """Calls a program of SLURM, and gives what it prints."""
    folder = tmp_path / "slurm"
    (folder / "state").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [one.getsockname()[1] for one in free]
    text = CONF.format(folder=folder, host=socket.gethostname(), nodes=NODES, ports=ports)
    (folder / "slurm.conf").write_text(text)
    devices = zip(NODES, ("/dev/null", "/dev/zero"), strict=True)
    (folder / "gres.conf").write_text("".join(f"NodeName={node} Name=gpu File={file}\n" for node, file in devices))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *(f"--{k}={folder / v}" for k, v in munge.items())],
        ["slurmctld", "-D", "-c"],
        *(["slurmd", "-D", "-N", node] for node in NODES),
    ]
    settings = {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf"), "MASKX_DETECT_DEVICE": "cpu"}
    world = {**environment(), **settings, "MASKX": str(TORCHRUN.with_name("maskx"))}

    def call(*words: str, cwd: Path = folder) -> str:
        return subprocess.run(words, cwd=cwd, env=world, capture_output=True, text=True, check=True).stdout

    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "daemons.log").open("w"))
        for daemon in daemons:
            begun = stack.enter_context(subprocess.Popen(daemon, env=world, stdout=log, stderr=log))
            stack.callback(begun.terminate)
            time.sleep(1)
        wait_for(lambda: call("sinfo", "--noheader", "--format=%D %t").split() == ["2", "idle"], folder / "daemons.log")
        yield call


def wait_for(there: Callable[[], bool], log: Path, *, seconds: float = 240) -> None:
    """Wait until something is so; else fail with the end of a file."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, log.read_text()[-3000:] if log.exists() else "nothing was written"
        time.sleep(0.5)


def test_a_job_on_two_nodes_is_preempted_and_goes_on_to_its_end(slurm: Call, project: Path) -> None:
    """Its two processes save what they have when the signal comes, and the requeued job begins there."""
    words = ("detect", "train", "--out", "runs/other", "--iterations", "200", "--steps", "150")
    script = str(CHECKOUT / "pipelines" / "slurm.sh")
    size = ("--nodes", "2", "--gpus-per-node", "1")
    job = slurm("sbatch", "--parsable", "--output=log.txt", *size, script, *words, cwd=project).strip()
    log, folder = project / "log.txt", project / "runs/other"

    def state() -> str:
        return re.findall(r"JobState=(\w+)", slurm("scontrol", "show", "job", job))[0]

    wait_for(lambda: (folder / "metrics.jsonl").exists() and '"loss"' in (folder / "metrics.jsonl").read_text(), log)
    slurm("scancel", "--signal=USR1", "--batch", job)
    wait_for(lambda: state() == "PENDING", log)
    assert (folder / "state.pt").exists()
    assert json.loads((folder / "run.json").read_text())["finished"] is None
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM itself waits two minutes
    wait_for(lambda: state() not in ("PENDING", "RUNNING", "COMPLETING"), log)
    assert state() == "COMPLETED", log.read_text()[-3000:]
    run = json.loads((folder / "run.json").read_text())
    assert (run["processes"], run["step"]) == (2, 200)
    assert log.read_text().count("runs/other: resuming at step") == 1


def test_a_cancelled_job_is_not_put_back(slurm: Call, project: Path) -> None:
    script = project / "recipe.sh"
    script.write_text("touch begun; sleep 60\n")
    words = ("--output=log.txt", "--gpus-per-node", "1", str(CHECKOUT / "pipelines" / "slurm.sh"), "recipe.sh")
    job = slurm("sbatch", "--parsable", *words, cwd=project).strip()
    wait_for((project / "begun").exists, project / "log.txt", seconds=60)
    slurm("scancel", job)
    wait_for(lambda: not slurm("squeue", "--noheader").strip(), project / "log.txt", seconds=60)
    assert "JobState=CANCELLED" in slurm("scontrol", "show", "job", job)
