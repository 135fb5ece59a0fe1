"""What `maskx doctor --env` says of the machine."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import torch

from maskx_pipeline.engine import environment
from maskx_pipeline.engine.environment import available_memory, describe_environment, free_disk

GB = 10**9


def _without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_versions_memory_and_disk_are_those_of_this_machine(tmp_path, monkeypatch):
    """Also for a folder that does not exist yet."""
    _without_gpu(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12 * GB))
    found = describe_environment(tmp_path / "not" / "yet")
    assert found.versions["torch"] == torch.__version__.split("+")[0] or found.versions["torch"] == torch.__version__
    assert found.cores >= 1
    assert found.gpus == ()
    assert (found.disk, found.disk_free) == (str(tmp_path), 12 * GB)
    text = found.to_text()
    assert f"12.0 GB free in {tmp_path}" in text
    assert "gpu        none" in text
    assert json.loads(json.dumps(found.to_json()))["disk_free"] == 12 * GB


def test_a_gpu_is_named_with_its_memory_and_precision(tmp_path, monkeypatch):
    """bf16 from compute capability 8 on; before it, float32."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (60 * GB, 80 * GB))
    for major, precision in ((9, "bfloat16"), (7, "float32")):
        properties = SimpleNamespace(name="Big One", major=major, minor=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index, found=properties: found)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, major=major: (major, 0))
        found = describe_environment(tmp_path)
        assert found.precision == precision
        assert f"gpu 0      Big One, compute capability {major}.0, 80.0 GB, 60.0 GB of it free" in found.to_text()
        assert "none" not in found.to_text()


def test_a_container_s_limit_is_the_memory(tmp_path, monkeypatch):
    """The machine may have more than this process may use; `max` and no file mean no limit."""
    _without_gpu(monkeypatch)
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(environment, "_CGROUP_LIMIT", limit)
    whole = describe_environment(tmp_path).memory
    limit.write_text("1000000\n")
    assert describe_environment(tmp_path).memory == 1_000_000
    limit.write_text("max\n")
    assert describe_environment(tmp_path).memory == whole
    assert whole is None or whole > 1_000_000


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    """As missing, not as an error."""
    _without_gpu(monkeypatch)
    monkeypatch.setattr(environment, "_PACKAGES", ("no-such-package",))
    assert "no-such-package missing" in describe_environment(tmp_path).to_text()


def test_free_disk_is_that_of_the_nearest_folder(tmp_path):
    """A path below a folder that exists."""
    assert free_disk(tmp_path / "a" / "b")[0] == tmp_path
    assert free_disk(tmp_path)[1] > 0


def test_available_memory_is_the_system_s_or_what_a_container_has_left(tmp_path, monkeypatch):
    """What files take is counted as available, since it is given up; nothing is made up where the system is silent."""
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr(environment, "_MEMINFO", meminfo)
    monkeypatch.setattr(environment, "_CGROUP_LIMIT", limit)
    assert available_memory() is None
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:  5000 kB\nHugePages_Total:  0\n")
    assert available_memory() == 5_120_000
    limit.write_text("max\n")
    assert available_memory() == 5_120_000
    limit.write_text("2000000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\nfile 1400000\n")
    assert available_memory() == 1_500_000
