"""The compiled extensions and their environment switches; everything else is in pyproject.toml.

FASTPROP_SANITIZE       sanitizers for both extensions, as in -fsanitize=...: "address,undefined"
FASTPROP_WERROR=1       C++ warnings are errors
FASTPROP_BOUNDSCHECK=1  Cython's bounds and wrap-around checks are restored
FASTPROP_JOBS=N         files compiled at once, all processors by default
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import Extension, setup

ParallelCompile("FASTPROP_JOBS", default=0).install()
sanitizers = os.environ.get("FASTPROP_SANITIZE")
bounds_check = os.environ.get("FASTPROP_BOUNDSCHECK") == "1"

compile_args = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
link_args = []
if sanitizers:
    compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={sanitizers}"]
    link_args = [f"-fsanitize={sanitizers}"]

warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wno-attributes"]
if os.environ.get("FASTPROP_WERROR") == "1":
    warnings.append("-Werror")

core = Pybind11Extension(
    "fastprop._core",
    sorted(
        str(path)
        for root in ("csrc/bindings", "csrc/fastprop")
        for path in Path(root).rglob("*.cpp")
    ),
    include_dirs=["csrc", "csrc/bindings"],
    cxx_std=17,
    extra_compile_args=[*compile_args, *warnings],
    extra_link_args=link_args,
    libraries=["dl", "pthread"],
)
csr = Extension(
    "fastprop._csr",
    ["src/fastprop/_csr.pyx"],
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(
    ext_modules=[
        core,
        *cythonize(
            [csr],
            compiler_directives={
                "language_level": 3,
                "boundscheck": bounds_check,
                "wraparound": bounds_check,
                "cdivision": True,
                "initializedcheck": bounds_check,
            },
        ),
    ]
)
