#!/usr/bin/env bash
# What a stranger does: an empty virtual environment, the README's first command, its examples.
#   bash cpp/tools/as_a_stranger.sh .             from this clone, compiled
#   bash cpp/tools/as_a_stranger.sh dist/*.whl    from a wheel, without a compiler
# Both README commands install "."; here "." is what is named. The examples run before the command's
# extras are there, from a folder in which no source of ours lies. Prints the seconds of each step.
set -euo pipefail
what=$(realpath "$1")
tools=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
TIMEFORMAT="took %R s, with %U + %S s of processor time"

cd "$work"
python3 "$tools/readme_command.py" --blocks blocks
demo=$(python3 "$tools/readme_command.py" demo)
test=$(python3 "$tools/readme_command.py" test)
python3 -m venv venv
. venv/bin/activate
case "$what" in
  *.whl) # a stranger's machine has no compiler
    export CC=false CXX=false
    echo "+ pip install $(basename "$what")"
    time python -m pip install -q "$what"
    for block in blocks/*.py; do
      echo "+ python $(basename "$block"), the README's"
      time python "$block"
    done
    ;;
esac
install() { # what stands before && in a command, of what was named
  local extras
  extras=$(sed -E 's/^pip install "\.(\[[^]]*\])"$/\1/' <<<"$1")
  echo "+ pip install \"$(basename "$what")$extras\""
  time python -m pip install -q "$what$extras"
}
install "${demo%% &&*}"
echo "+ ${demo#*&& }"
time bash -c "${demo#*&& }"
test -s retemper-demo/report.html
case "$what" in
  *.whl)
    install "${test%% &&*}"
    cp -r "$tools/../../tests" "$tools/../../README.md" "$tools/../../pyproject.toml" .
    echo "+ ${test#*&& } tests/contract/test_readme.py: the rest of the tests runs elsewhere"
    time bash -c "${test#*&& } tests/contract/test_readme.py -k 'examples or screen'"
    ;;
  *)
    for block in blocks/*.py; do
      echo "+ python $(basename "$block"), the README's"
      time python "$block"
    done
    ;;
esac
