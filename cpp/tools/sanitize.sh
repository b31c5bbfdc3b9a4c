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
  fault="past_the_end(100)" sanitizers=address,undefined
  # The interpreter and NumPy keep memory until the process ends: only leaks are not looked for.
  export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
else
  library=$(runtime libclang_rt.tsan-x86_64.so)
  fault="race()" sanitizers=thread
  archer=$(runtime libarcher.so) || archer=$(find "$(dirname "$(readlink -f "$(command -v "$clang")")")/../lib" -name libarcher.so | head -1)
  [ -n "$archer" ] || { echo "libarcher.so is not installed: OpenMP's barriers would look like races" >&2; exit 2; }
  # Every call of the core that takes threads gets three.
  export OMP_TOOL_LIBRARIES=$archer OMP_NUM_THREADS=3 REACHED_THREADS=3
  # Code without checks (Python, NumPy, BLAS) has its own means against races.
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:second_deadlock_stack=1
fi
export LD_LIBRARY_PATH=$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# The sanitizer sees a fault that is known, from Python as the tests are, and none where none is.
"$clang" -g -O1 -fPIC -shared -shared-libsan -fopenmp -fsanitize="$sanitizers" \
  -o "build/$preset/known_fault.so" cpp/tools/known_fault.cpp
known() { LD_PRELOAD=$library python -c "import ctypes; ctypes.CDLL('build/$preset/known_fault.so').$1" 2>&1; }
known "sound()" || { echo "the $kind sanitizer reports a fault where there is none" >&2; exit 1; }
if known "$fault" >/dev/null; then echo "the $kind sanitizer does not see a known fault" >&2; exit 1; fi
echo "the $kind sanitizer sees a known fault, and none where there is none"

ctest --test-dir "build/$preset" --output-on-failure
# The last ones reach what the others do not: `-p tests.contract.reached` says what is left.
tests=(tests/contract/test_threads.py tests/contract/test_doctests.py tests/core tests/numerics tests/*/test_theory.py
  tests/perceptron/test_erm.py tests/linear/test_deep.py tests/linear/test_relu_kernel.py
  tests/widenet/test_layers.py tests/widenet/test_activations.py tests/widenet/test_kernels.py
  tests/diagonal/test_depth.py tests/linear/test_stochastic.py
  tests/phases/test_two_layer.py tests/phases/test_deep.py)
export OPENBLAS_NUM_THREADS=1 RETEMPER_LEVEL=v3
LD_PRELOAD=$library PYTHONPATH=$site python -m pytest -q --capture=sys -p no:cacheprovider -p tests.contract.reached \
  -m "not slow" -k "not ctrl_c and not fork and not cli and not gallery" "${@:-${tests[@]}}"
