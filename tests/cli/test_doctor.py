from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa

from fastprop.cli.doctor import memory


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "fastprop.cli", "doctor", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_machine_that_works():
    done = run("--json")
    assert done.returncode == 0, done.stdout
    facts = json.loads(done.stdout)
    assert facts["works"] is True
    assert facts["problems"] == []
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["packages"]["pyarrow"] == pa.__version__
    assert facts["engine"]["version"] == "1.9.1"
    assert os.path.isfile(facts["engine"]["library"])
    assert "scalar" in facts["instruction_sets"]
    assert 1 <= facts["cores"]["allowed"] <= facts["cores"]["of_the_machine"]
    assert facts["memory"]["total"] > facts["memory"]["available"] > 0
    text = run()
    assert text.returncode == 0
    assert "scoring works" in text.stdout
    assert facts["engine"]["library"] in text.stdout


def test_a_library_that_is_missing(tmp_path):
    done = run("--json", MXNET_LIBRARY_PATH=str(tmp_path / "none.so"))
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert facts["works"] is False
    assert "MXNET_LIBRARY_PATH" in facts["problems"][0]
    assert facts["engine"]["library"] is None
    text = run(MXNET_LIBRARY_PATH=str(tmp_path / "none.so"))
    assert text.returncode == 1
    assert "scoring does not work: MXNET_LIBRARY_PATH" in text.stdout


def test_a_library_that_is_something_else(tmp_path):
    (tmp_path / "libmxnet.so").write_bytes(b"not a library")
    done = run("--json", MXNET_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert facts["engine"]["library"] == str(tmp_path / "libmxnet.so")
    assert facts["engine"]["version"] is None


def fake_root(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


MEMINFO = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n"


def test_memory_of_a_machine(tmp_path):
    root = fake_root(tmp_path, {"proc/meminfo": MEMINFO})
    assert memory(root) == {"total": 1024000, "available": 409600, "limit": None}


def test_memory_of_a_container(tmp_path):
    files = {"proc/meminfo": MEMINFO, "sys/fs/cgroup/memory.max": "2048\n"}
    assert memory(fake_root(tmp_path, files))["limit"] == 2048
    files["sys/fs/cgroup/memory.max"] = "max\n"
    assert memory(fake_root(tmp_path, files))["limit"] is None


def test_memory_of_an_older_container(tmp_path):
    name = "sys/fs/cgroup/memory/memory.limit_in_bytes"
    files = {"proc/meminfo": MEMINFO, name: "4096\n"}
    assert memory(fake_root(tmp_path, files))["limit"] == 4096
    files[name] = "9223372036854771712\n"
    assert memory(fake_root(tmp_path, files))["limit"] is None
    assert memory(tmp_path / "nowhere") == {"total": None, "available": None, "limit": None}
