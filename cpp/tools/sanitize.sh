#!/usr/bin/env bash
# Runs the C++ tests and the fast part of the Python suite on a core and bindings with checks inside:
#
#   bash cpp/tools/sanitize.sh address   # addresses and undefined behaviour
#   bash cpp/tools/sanitize.sh thread    # races: every parallel kernel with several threads
#
# Needs clang (its build takes a quarter of GCC's) and, for threads, LLVM's OpenMP with Archer, which
# tells the sanitizer of OpenMP's barriers: on Debian `apt install clang-19 libomp-19-dev`. A finding
# ends the run. The build and a copy of the Python sources stay in build/<kind>-python.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=${1:?say address or thread}
case $kind in
  address) preset=asan-python ;;
  thread) preset=tsan-python ;;
  *) echo "say address or thread, not $kind" >&2; exit 2 ;;
esac
shift
clang=$(compgen -c clang++ | grep -xE 'clang\+\+(-[0-9]+)?' | sort -Vr | head -1) || true
[ -n "$clang" ] || { echo "clang++ is not installed" >&2; exit 2; }
runtime() { local file; file=$("$clang" -print-file-name="$1"); [ -e "$file" ] && realpath "$file"; }

cmake --preset "$preset" -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_CXX_FLAGS=-Wno-unknown-warning-option \
  -DCMAKE_SHARED_LINKER_FLAGS=-shared-libsan -DCMAKE_MODULE_LINKER_FLAGS=-shared-libsan \
  -DCMAKE_EXE_LINKER_FLAGS=-shared-libsan -DCMAKE_PREFIX_PATH="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
  -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" >/dev/null
cmake --build "build/$preset"
site=$PWD/build/$preset/site
rm -rf "$site" && mkdir -p "$site"
git ls-files -z python/retemper | tar -c --null -T - --transform 's,^python/,,' | tar -x -C "$site"
cmake --install "build/$preset" --prefix "$site" >/dev/null

if [ "$kind" = address ]; then
  library=$(runtime libclang_rt.asan-x86_64.so)
  # The interpreter and NumPy keep memory until the process ends: only leaks are not looked for.
  export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  tests=(tests/core tests/numerics tests/*/test_theory.py tests/*/test_simulate.py tests/*/test_display.py
    tests/contract/test_threads.py tests/contract/test_curves.py tests/contract/test_estimators.py)
else
  library=$(runtime libclang_rt.tsan-x86_64.so)
  archer=$(runtime libarcher.so) || archer=$(find "$(dirname "$(readlink -f "$(command -v "$clang")")")/../lib" -name libarcher.so | head -1)
  [ -n "$archer" ] || { echo "libarcher.so is not installed: OpenMP's barriers would look like races" >&2; exit 2; }
  export OMP_TOOL_LIBRARIES=$archer OMP_NUM_THREADS=3
  # Code without checks (Python, NumPy, BLAS) has its own means against races.
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:second_deadlock_stack=1
  tests=(tests/contract/test_threads.py)
fi
export LD_LIBRARY_PATH=$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
ctest --test-dir "build/$preset" --output-on-failure
export OPENBLAS_NUM_THREADS=1 RETEMPER_LEVEL=v3
LD_PRELOAD=$library PYTHONPATH=$site python -m pytest -q -p no:cacheprovider -p tests.contract.reached \
  -m "not slow" -k "not ctrl_c and not fork" "${@:-${tests[@]}}"
