"""The machine that a run was made on, as far as it bears on the figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["IdleTime", "ProcessorTime", "StolenShare", "machine_facts"]


def machine_facts(root: Path = Path("/")) -> dict[str, Any]:
    """Gather processor, cores, caches, memory, pages, system and load, fit for JSON.

    Parameters
    ----------
    root : Path
        Where `proc` and `sys` are mounted.
    """
    import fastprop
    from fastprop import _core

    info = cpuinfo(root)
    flags = set(info.get("flags", "").split())
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
    return {
        "cpu": cpu_name(info),
        "cores": _core.cpu_count(),
        "cores_of_the_machine": os.cpu_count(),
        "flags": [flag for flag in wanted if flag in flags],
        "instruction_sets": list(_core.instruction_sets()),
        "caches": caches(root),
        "memory": memory_total(root),
        "huge_pages": chosen(read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastprop": fastprop.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def read(path: Path) -> str:
    return path.read_text(errors="replace").strip() if path.is_file() else ""


def cpuinfo(root: Path) -> dict[str, str]:
    """The first processor of `proc/cpuinfo`."""
    block = read(root / "proc/cpuinfo").split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_name(info: Mapping[str, str]) -> str:
    """The model's name, with family and model where the name alone says little."""
    name = info.get("model name", "") or platform.processor() or platform.machine()
    family, model = info.get("cpu family"), info.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def caches(root: Path) -> dict[str, str]:
    """Sizes of the first processor's caches, by level and type."""
    found: dict[str, str] = {}
    folder = root / "sys/devices/system/cpu/cpu0/cache"
    for entry in sorted(folder.glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(read(entry / "type"), "")
        found[f"L{read(entry / 'level')}{kind}"] = read(entry / "size")
    return found


def memory_total(root: Path) -> int | None:
    for line in read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def chosen(text: str) -> str:
    """Which of the bracketed choices is on: `always [madvise] never`."""
    _, opening, rest = text.partition("[")
    return rest.partition("]")[0] if opening else text


class StolenShare:
    """How much processor time other guests of the host take, from when it is made.

    Parameters
    ----------
    root : Path
        Where `proc` is mounted.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.before = self.ticks()

    def ticks(self) -> tuple[int, int]:
        """Stolen ticks and all ticks so far."""
        lines = read(self.root / "proc/stat").splitlines()
        fields = [int(field) for field in lines[0].split()[1:]] if lines else []
        return (fields[7] if len(fields) > 7 else 0), sum(fields[:8])

    def share(self) -> float:
        """Return the share of all ticks since it was made."""
        stolen, total = self.ticks()
        passed = total - self.before[1]
        return (stolen - self.before[0]) / passed if passed > 0 else 0.0


class ProcessorTime:
    """Who uses the processors, from when it is made.

    Parameters
    ----------
    pids : sequence of int
        Processes that are ours.
    root : Path
        Where `proc` is mounted.
    """

    def __init__(self, pids: Sequence[int], root: Path = Path("/")) -> None:
        self.pids, self.root = list(pids), root
        self.own = {pid: process_ticks(pid, root) for pid in self.pids}
        self.busy, self.all = machine_ticks(root)

    def own_ticks(self) -> int:
        """Ticks that our processes have used since; those that have ended count nothing."""
        now = {pid: process_ticks(pid, self.root) for pid in self.pids}
        return sum(max(now[pid] - self.own[pid], 0) for pid in self.pids)

    def foreign_share(self) -> float:
        """Return the share of the processors that others have used since."""
        busy, total = machine_ticks(self.root)
        passed = total - self.all
        foreign = busy - self.busy - self.own_ticks()
        return max(foreign, 0) / passed if passed > 0 else 0.0


class IdleTime:
    """What processes use of the processors while they should be idle, over several spells."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.used = self.passed = 0

    @contextmanager
    def watching(self, pids: Sequence[int]) -> Iterator[None]:
        """Count what these processes use while the body runs."""
        before = ProcessorTime(pids, self.root)
        yield
        self.used += before.own_ticks()
        self.passed += machine_ticks(self.root)[1] - before.all

    def share(self) -> float:
        """Return the share of all processors' time."""
        return self.used / self.passed if self.passed > 0 else 0.0


def process_ticks(pid: int, root: Path) -> int:
    """Ticks that a process has used, in user and kernel mode; 0 if there is none."""
    try:
        text = (root / f"proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[11]) + int(fields[12])


def machine_ticks(root: Path) -> tuple[int, int]:
    """Ticks that this machine's processors have worked, and all ticks, since it started."""
    lines = read(root / "proc/stat").splitlines()
    ticks = [int(field) for field in lines[0].split()[1:9]] if lines else []
    if len(ticks) < 5:
        return 0, 0
    stolen = ticks[7] if len(ticks) > 7 else 0
    return sum(ticks) - ticks[3] - ticks[4] - stolen, sum(ticks)
