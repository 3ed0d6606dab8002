"""How many processors there are to use."""

from __future__ import annotations

import os

from fastprop import _core


def test_processors_follow_affinity_and_quota(tmp_path):
    assert 1 <= _core.cpu_count() <= len(os.sched_getaffinity(0))
    assert _core.cpu_count_under(str(tmp_path), 8) == 8

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/self/cgroup", "0::/pods/one\n")
    write("sys/fs/cgroup/pods/one/cpu.max", "max 100000\n")
    assert _core.cpu_count_under(str(tmp_path), 8) == 8
    write("sys/fs/cgroup/pods/cpu.max", "250000 100000\n")
    assert _core.cpu_count_under(str(tmp_path), 8) == 3
    assert _core.cpu_count_under(str(tmp_path), 2) == 2
    write("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/jobs\n")
    write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "150000\n")
    write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n")
    assert _core.cpu_count_under(str(tmp_path), 8) == 2
