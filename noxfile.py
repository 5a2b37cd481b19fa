"""The project's chores: the one place where their commands stand.

``.ci/run`` and pre-commit call these sessions; so can you::

    nox                  # lint and tests
    nox -s lint          # ruff, mypy, clang-format; `nox -s format` mends what can be mended
    nox -s tests -- -k gibbs
    nox -s wheel cuda sanitize
    nox -s races         # of CUDA kernels; half an hour
    nox -s stubs         # write python/unsupfast/_core.pyi again after a change of the bindings
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
MAIN_JOB = "pip install . && unsupfast demo"
TEST_COMMAND = "pip install '.[test]' && pytest"
# emulated, without Hopper's engine: a block takes many tiles, and threads come in another order
SMALL_GPU = {
    "UNSUPFAST_EMULATED_CAPABILITY": "8.0",
    "UNSUPFAST_EMULATED_PROCESSORS": "2",
    "UNSUPFAST_EMULATED_SEED": "1",
}
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def pinned(*names: str) -> list[str]:
    """The requirements of these names, as the extra `dev` pins them."""
    wanted = {re.split(r"[<>=~!;\[ ]", line)[0]: line for line in extra("dev")}
    return [wanted[name] for name in names]


def extra(name: str) -> list[str]:
    return PYPROJECT["project"]["optional-dependencies"][name]


def cxx_files() -> list[str]:
    suffixes = {".h", ".cpp", ".cu", ".cuh"}
    return sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("csrc/**/*") if p.suffix in suffixes)


def data_environment() -> dict[str, str]:
    """Real data sets, where they lie beside the checkout; tests that need them skip without."""
    if "UNSUPFAST_DATA" in os.environ:
        return {}
    data = ROOT.parent / "shared" / "data"
    return {"UNSUPFAST_DATA": str(data)} if data.is_dir() else {}


def from_readme(command: str) -> str:
    """The command, once it is known to stand in the README as it is."""
    if command not in (ROOT / "README.md").read_text(encoding="utf-8"):
        raise RuntimeError(f"README.md does not say: {command}")
    return command


def shell(session: nox.Session, command: str, **env: str) -> None:
    session.run("bash", "-euo", "pipefail", "-c", command, external=True, env=env or None)


def has_nvcc() -> bool:
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    paths = [None, *(f"{home}/bin" for home in homes if home)]
    return any(shutil.which("nvcc", path=path) for path in paths)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, mypy on the Python API, clang-format on C++ and CUDA; changes nothing."""
    session.install(*pinned("ruff", "mypy", "clang-format"), "numpy", "nox", "pytest")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "--Werror", *cxx_files())
    session.run("mypy")


@nox.session
def format(session: nox.Session) -> None:
    """Mends what ruff and clang-format can mend."""
    session.install(*pinned("ruff", "clang-format"))
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")
    session.run("clang-format", "-i", *cxx_files())


@nox.session
def tests(session: nox.Session) -> None:
    """The README's test command, word for word, in an empty virtual environment."""
    command = from_readme(TEST_COMMAND)
    if session.posargs:
        command += " " + shlex.join(session.posargs)
    shell(session, command, **data_environment())


@nox.session
def wheel(session: nox.Session) -> None:
    """Builds sdist and wheel in isolation; runs the demo from the wheel in an empty environment."""
    from_readme(MAIN_JOB)
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    builder = dist.parent / "builder"
    session.run("python", "-m", "venv", "--clear", str(builder), silent=True)
    session.run(str(builder / "bin/pip"), "install", "-q", *pinned("build"), external=True)
    # The wheel is built from the sdist, so the sdist is known to be complete.
    build = [str(builder / "bin/python"), "-m", "build", "--outdir", str(dist), "."]
    session.run(*build, external=True)
    (built,) = dist.glob("*.whl")
    session.install("--force-reinstall", str(built))
    with session.chdir(session.create_tmp()):  # away from the sources
        session.run("unsupfast", "info")
        session.run("unsupfast", "demo")


@nox.session
def cuda(session: nox.Session) -> None:
    """Compiles the CUDA kernels for every GPU, with warnings as errors, and imports the result."""
    if not has_nvcc():
        if os.environ.get("UNSUPFAST_CI_NO_CUDA"):
            session.skip("no nvcc, and UNSUPFAST_CI_NO_CUDA is set")
        session.error("nvcc not found; install a CUDA toolkit or set UNSUPFAST_CI_NO_CUDA=1")
    build_dir = development_build(session, "cuda", UNSUPFAST_CUDA="ON", UNSUPFAST_WERROR="ON")
    session.run("python", "cmake/check_isa_objects.py", str(build_dir))
    # A build with CUDA imports where there is neither a GPU nor a driver.
    session.run("python", "-c", "import unsupfast as uf; print(uf.build_info())")


@nox.session
def sanitize(session: nox.Session) -> None:
    """The kernel tests and those of a GPU, an emulated one, under AddressSanitizer and
    UndefinedBehaviorSanitizer."""
    build_with_gpu(session, "sanitize", UNSUPFAST_SANITIZE="ON")
    env = {
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # so that an overrun of a small Python buffer is seen as well
    }
    # libstdc++ comes along so that exceptions are intercepted from the start
    run_gpu_tests(session, "kernels", ("libasan.so", "libubsan.so", "libstdc++.so"), env)


@nox.session
def races(session: nox.Session) -> None:
    """On an emulated GPU: threads of a kernel at the same memory of which neither comes first."""
    build_with_gpu(session, "races", UNSUPFAST_SANITIZE="thread")
    env = {"TSAN_OPTIONS": "report_thread_leaks=0:exitcode=66", "OPENBLAS_NUM_THREADS": "1"}
    run_gpu_tests(session, "kernels and gpu", ("libtsan.so",), env)


@nox.session
def stubs(session: nox.Session) -> None:
    """Writes python/unsupfast/_core.pyi from the compiled module."""
    session.install(*pinned("pybind11-stubgen", "ruff"))
    session.install(".", env={"UNSUPFAST_CUDA": "OFF"})
    out = Path(session.create_tmp()).resolve() / "stubs"
    shutil.rmtree(out, ignore_errors=True)
    with session.chdir(session.create_tmp()):
        session.run("pybind11-stubgen", "unsupfast._core", "--exit-code", "-o", str(out))
    target = ROOT / "python/unsupfast/_core.pyi"
    shutil.copyfile(out / "unsupfast/_core.pyi", target)
    session.run("ruff", "format", "--no-force-exclude", str(target))


@nox.session
def bench(session: nox.Session) -> None:
    """`unsupfast bench` against the peers, in an environment of its own."""
    session.install(".[bench]")
    session.run("unsupfast", "bench", *session.posargs, env=data_environment())


def build_with_gpu(session: nox.Session, name: str, **options: str) -> None:
    """A development build whose CUDA kernels an emulated GPU runs, and what the tests need."""
    session.install(*extra("test"))
    development_build(
        session, name, UNSUPFAST_CUDA="OFF", UNSUPFAST_EMULATED_GPU="ON", **options
    )  # fmt: skip


def run_gpu_tests(
    session: nox.Session, marks: str, libraries: tuple[str, ...], env: dict[str, str]
) -> None:
    """Tests with these marks, and those of models on a GPU, in an interpreter that is not
    instrumented: the sanitizer's runtime has to be there before it."""
    compiler = os.environ.get("CXX", "g++")
    paths = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in libraries
    ]
    python = shutil.which("python", path=session.bin)
    assert python is not None
    env = {"LD_PRELOAD": ":".join(paths), **env, **data_environment()}
    cores = sorted(os.sched_getaffinity(0))

    def pytest(*arguments: str, core: int = 0, **more: str) -> str:
        launcher = []
        if "libtsan.so" in libraries:
            # addresses that are not random; one thread of the CPU's kernels, which are not
            # instrumented, so that how theirs wait for each other would not be seen
            launcher = ["setarch", "-R", "taskset", "-c", str(cores[core])]
        variables = [f"{name}={value}" for name, value in (env | more).items()]
        # --capture=sys lets the sanitizers' own reports through
        options = ["--capture=sys", "-p", "no:cacheprovider"]
        command = [*launcher, "env", *variables, python, "-m", "pytest", *arguments, *options]
        return shlex.join(command)

    if session.posargs:
        shell(session, pytest(*session.posargs))
        return
    kernels = pytest("-m", f"{marks} and not slow")
    small_gpu = pytest("-m", "not slow", "tests/test_gpu.py", **SMALL_GPU)
    models = pytest("-m", "gpu and not kernels and not slow", core=-1)
    # side by side
    log = shlex.quote(str(Path(session.create_tmp()).resolve() / "models.log"))
    shell(
        session,
        f"{models} >{log} 2>&1 & status=0; {{ {kernels} && {small_gpu}; }} || status=1; "
        f"wait $! || status=1; cat {log}; exit $status",
    )


def development_build(session: nox.Session, name: str, **options: str) -> Path:
    """Installs the package from build/<name>, where a second run compiles only what changed."""
    build_dir = ROOT / "build" / name
    session.install(*PYPROJECT["build-system"]["requires"], "cmake>=3.26", "ninja")
    defines = [f"-Ccmake.define.{key}={value}" for key, value in options.items()]
    session.install(
        "--no-build-isolation", "--force-reinstall", "--no-deps", "-v",
        f"-Cbuild-dir={build_dir}", "-Cinstall.strip=false", *defines, ".",
    )  # fmt: skip
    session.install(*PYPROJECT["project"]["dependencies"])
    return build_dir
