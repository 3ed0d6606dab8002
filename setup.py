"""The compiled extensions and their environment switches; everything else is in pyproject.toml.

FASTPROP_SANITIZE       sanitizers for both extensions, as in -fsanitize=...: "address,undefined"
FASTPROP_COVERAGE=1     counters of lines and branches in the extensions, for gcov
FASTPROP_WERROR=1       C++ warnings are errors
FASTPROP_BOUNDSCHECK=1  Cython's bounds and wrap-around checks are restored
FASTPROP_JOBS=N         files compiled at once, all processors by default
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ParallelCompile("FASTPROP_JOBS", default=0).install()
sanitizers = os.environ.get("FASTPROP_SANITIZE")
bounds_check = os.environ.get("FASTPROP_BOUNDSCHECK") == "1"

compile_args = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
link_args = []
if sanitizers:
    compile_args = ["-O0", "-g1", "-fno-omit-frame-pointer", f"-fsanitize={sanitizers}"]
    # Checks of every pointer take most of the time of the compiler and say nothing here.
    compile_args += ["-fno-sanitize=null,object-size,vptr", "-fno-sanitize-recover=all"]
    link_args = [f"-fsanitize={sanitizers}"]
elif os.environ.get("FASTPROP_COVERAGE") == "1":
    # Threads count the same lines, so that counters have to be atomic.
    compile_args = ["-O0", "-g1", "--coverage", "-fprofile-update=atomic"]
    link_args = ["--coverage"]


class BuildExtensions(build_ext):
    """Optimises the kernels, which would take long, where nothing else is optimised."""

    def build_extensions(self):
        compile_one = self.compiler._compile

        def compile_source(target, source, ext, cc_args, extra, options):
            if "-O0" in extra and "kernels" in Path(source).parts:
                extra = [*extra, "-O1"]
            compile_one(target, source, ext, cc_args, extra, options)

        self.compiler._compile = compile_source
        super().build_extensions()


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
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=[
        core,
        *cythonize(
            [csr],
            force=True,  # what was translated with other directives is no newer than its source
            compiler_directives={
                "language_level": 3,
                "boundscheck": bounds_check,
                "wraparound": bounds_check,
                "cdivision": True,
                "initializedcheck": bounds_check,
            },
        ),
    ],
)
