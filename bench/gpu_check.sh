#!/usr/bin/env bash
# Everything that needs a GPU, in one go and in under ten minutes: build, GPU tests, compute-sanitizer, and
# benchmarks. For a bare machine with nvcc, g++, and a python3 that has PyTorch, scikit-build-core, pybind11,
# pytest and the package's dependencies; nothing is downloaded.
#
#   bench/gpu_check.sh OUTDIR
#
# Every stage has its own time limit and runs whatever became of the ones before. Leaves in OUTDIR, flat:
# summary.txt, build.log, tests.log, sanitizers.log, bench.log, and bench-rbm.json, bench-autoencoder.json.
# Exit status: the number of stages that failed.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 64; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONUNBUFFERED=1 PATH="$PATH:/usr/local/cuda/bin"
total=585 failed=0 SECONDS=0
summary="$out/summary.txt"
: >"$summary"

say() { printf '%s\n' "$*" | tee -a "$summary"; }

# stage NAME LIMIT LOG COMMAND...
stage() {
  local name=$1 limit=$2 log="$out/$3" start=$SECONDS left=$((total - SECONDS)) rc=0
  shift 3
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    say "$(printf '%-16s SKIPPED  no time left' "$name")"
    failed=$((failed + 1))
    return
  fi
  printf '\n===== %s: %s\n' "$name" "$*" >>"$log"
  timeout --kill-after=5 "$limit" "$@" >>"$log" 2>&1 </dev/null || rc=$?
  local result=ok
  case $rc in
    0) ;;
    124 | 137) result="FAILED   ran past $limit s" ;;
    *) result="FAILED   status $rc" ;;
  esac
  [ $rc -eq 0 ] || failed=$((failed + 1))
  say "$(printf '%-16s %-28s %4d s   %s' "$name" "$result" $((SECONDS - start)) \
    "$(grep -aE '^=+ .* in [0-9.]+s|ERROR SUMMARY' "$log" | tail -n 1)")"
}

say "unsupfast GPU check, $(date -u +%Y-%m-%dT%H:%MZ)"
say "$(nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader 2>&1 | head -n 1)"
say "$(nvcc --version 2>&1 | grep release)"
say ""

# --- build -------------------------------------------------------------------------------------------
# UNSUPFAST_CUDA=AUTO builds for the GPU that is there; `cuda built` then makes sure that it did.
build() {
  python3 -m venv --without-pip --system-site-packages "$work/venv" || return
  # A python3 that is itself of a virtual environment: its packages are not the system's.
  "$work/venv/bin/python" -c 'import sys; print(sys.version)' || return
  python3 -c 'import sysconfig; p = sysconfig.get_paths(); print("\n".join({p["purelib"], p["platlib"]}))' \
    >"$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/outer.pth" || return
  "$work/venv/bin/python" -m pip install --no-index --no-build-isolation --no-deps --force-reinstall -v \
    -Ccmake.define.UNSUPFAST_CUDA=AUTO -Cbuild-dir="$work/build" .
}
export -f build
export work
python="$work/venv/bin/python"
stage "build" 200 build.log bash -c build
stage "cuda built" 30 build.log "$python" -c '
import unsupfast
from unsupfast import _core
facts = _core.build_facts()
print(facts)
assert facts["cuda_built"], facts["cuda_reason"]
print(unsupfast.build_info())'

# --- tests -------------------------------------------------------------------------------------------
# Exit status 5, no test selected, counts as a failure: a check that checks nothing is none.
parallel=$("$python" -c 'import xdist' 2>/dev/null && echo "-n 6")
stage "tests" 110 tests.log "$python" -m pytest -m gpu -q -p no:cacheprovider $parallel
stage "gemm program" 120 tests.log bash -c 'nvcc -gencode=arch=compute_90a,code=sm_90a -std=c++20 -O3 -I csrc \
  bench/cuda/gemm_check.cu csrc/kernels/{gemm,layout,rbm}/cuda.cu -o "$work/gemm_check" && "$work/gemm_check"'

# --- compute-sanitizer -----------------------------------------------------------------------------------
for tool in memcheck racecheck initcheck synccheck; do
  stage "$tool" 40 sanitizers.log compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 \
    "$python" -m pytest tests/test_gpu.py -k "test_reference and (float32-0 or bfloat16-0)" -q -p no:cacheprovider
done

# --- benchmarks ------------------------------------------------------------------------------------------
# Without torch.compile, whose tuning takes minutes a contender; ask for it in a run of its own.
bench() {  # suite, limit, options
  local suite=$1 limit=$2
  shift 2
  mkdir -p "$work/$suite"
  stage "bench $suite" "$limit" bench.log "$python" -m unsupfast.cli bench "$suite" --device cuda --out "$work/$suite" \
    --rounds 5 --turn-seconds 0.1 "$@"
  cat "$work/$suite"/*.json >"$out/bench-$suite.json" 2>/dev/null || rm -f "$out/bench-$suite.json"
}
bench rbm 100 --batch 1024 --peers torch jax
bench autoencoder 60 --data random --no-compile

say ""
say "$failed failed, $SECONDS s in all"
exit "$failed"
