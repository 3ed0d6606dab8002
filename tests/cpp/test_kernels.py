"""The kernels of every instruction set, by the C++ programs of tests/cpp/kernels.

Three builds: as in the package; with AddressSanitizer and UndefinedBehaviorSanitizer; and, where
the processor has no AVX-512, with the AVX-512 kernels on top of SIMDe, which implements their
intrinsics portably (Debian: libsimde-dev).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "fastprop" / "kernels"
TESTS = Path(__file__).resolve().parent / "kernels"
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")

SUITES = ["math", "sparse", "dense", "dense_int8", "top_k", "check_csr"]
NOT_SUPPORTED = 77
PLAIN = ("-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
# Checks of every pointer of every vector instruction take minutes to compile and say nothing here.
SANITIZED = (
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize=null,object-size",
    "-fno-sanitize-recover=all",
)
# -Wno-psabi: 64-byte vectors as parameters, without the instructions for them.
ON_SIMDE = ("-O1", "-mavx2", "-mfma", "-Wno-psabi", "-DFASTPROP_SIMDE")
# As Linux names them.
FEATURES = {
    "scalar": (),
    "avx2": ("avx2", "fma"),
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vnni": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"),
    "amx": ("avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"),
}
# What the build on SIMDe has of its own, and the one with sanitizers has not.
AVX512_SOURCES = ("avx512.cpp", "avx512_vnni.cpp", "amx.cpp")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="bare machine: no C++ compiler")


def has(*features: str) -> bool:
    """Tell whether Linux reports these processor features (on x86-64; elsewhere none)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    reported = next((line.split() for line in lines if line.startswith("flags")), [])
    return set(features) <= set(reported)


def has_simde() -> bool:
    command = [str(COMPILER), "-E", "-x", "c++", "-"]
    source = "#include <simde/x86/avx512.h>\n"
    return subprocess.run(command, input=source, text=True, capture_output=True).returncode == 0


def call(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def compile_sources(names: list[str], flags: tuple[str, ...], directory: Path) -> dict[str, Path]:
    """Compile sources by their file names, two at a time; give their objects."""
    directory.mkdir()

    def compile_source(name: str) -> Path:
        source = next(path / name for path in (KERNELS, TESTS) if (path / name).is_file())
        target = directory / f"{source.stem}.o"
        includes = [f"-I{ROOT / 'csrc'}", f"-I{TESTS}"]
        command = [str(COMPILER), "-std=c++17", *flags, *includes]
        call([*command, "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return dict(zip(names, pool.map(compile_source, names)))


def link(objects: dict[str, Path], flags: tuple[str, ...], program: Path) -> Path:
    call([str(COMPILER), *flags, *map(str, objects.values()), "-o", str(program)])
    return program


def run_suite(program: Path, isa: str, suite: str) -> None:
    done = subprocess.run([str(program), isa, suite], text=True, capture_output=True)
    if done.returncode == NOT_SUPPORTED:
        assert not has(*FEATURES[isa]), f"Linux reports {isa}, and the package does not see it"
        pytest.skip(f"bare machine: this processor has no {isa}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = sorted(path.name for root in (KERNELS, TESTS) for path in root.glob("*.cpp"))
    return compile_sources(names, PLAIN, tmp_path_factory.mktemp("plain") / "objects")


@pytest.fixture(scope="module")
def plain(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link(objects, PLAIN, tmp_path_factory.mktemp("plain") / "kernels_test")


@pytest.fixture(scope="module")
def sanitized(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sanitized")
    names = sorted(set(objects) - set(AVX512_SOURCES))
    own = compile_sources(names, SANITIZED, directory / "objects")
    return link({**objects, **own}, SANITIZED, directory / "kernels_test")


@pytest.fixture(scope="module")
def on_simde(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64" or not has(*FEATURES["avx2"]):
        pytest.skip("bare machine: no AVX2, which the build on SIMDe uses")
    if has(*FEATURES["amx"]):
        pytest.skip("bare machine: its processor runs the AVX-512 kernels themselves")
    if not has_simde():
        pytest.skip("bare machine: neither AVX-512 nor SIMDe (libsimde-dev)")
    directory = tmp_path_factory.mktemp("simde")
    own = compile_sources([*AVX512_SOURCES, "main.cpp"], ON_SIMDE, directory / "objects")
    return link({**objects, **own}, ON_SIMDE, directory / "kernels_test")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512", "avx512_vnni", "amx"])
def test_plain(plain: Path, isa: str, suite: str) -> None:
    run_suite(plain, isa, suite)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("isa", ["avx512", "avx512_vnni", "amx"])
def test_avx512_on_simde(on_simde: Path, isa: str, suite: str) -> None:
    run_suite(on_simde, isa, suite)


@pytest.mark.parametrize("suite", ["sparse", "dense", "dense_int8", "top_k", "check_csr"])
@pytest.mark.parametrize("isa", ["scalar", "avx2"])
def test_sanitized(sanitized: Path, isa: str, suite: str) -> None:
    run_suite(sanitized, isa, suite)


def test_packing(plain: Path) -> None:
    run_suite(plain, "scalar", "pack")


def test_wrong_use_of_the_program_is_told(plain: Path) -> None:
    for arguments in (["scalar"], ["mmx", "dense"], ["scalar", "nothing"]):
        done = subprocess.run([str(plain), *arguments], text=True, capture_output=True)
        assert done.returncode == 2
