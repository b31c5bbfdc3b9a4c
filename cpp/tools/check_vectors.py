"""Check that hot loops became wide instructions: ``python cpp/tools/check_vectors.py BUILD``.

Reads the objects of the levels v3 and v4 under a build folder with ``objdump``. A loop that the
compiler left scalar costs a factor of four to eight, and no test of values sees it. ``HOT`` names
the functions; one with fewer arithmetic instructions on whole registers of doubles than it says
has lost a loop.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

REGISTER = {"v3": "ymm", "v4": "zmm"}

#: Functions, by a regular expression on the demangled name, and how many wide instructions they
#: have at least: half to two thirds of what GCC 12 makes at the level where it makes fewer.
HOT = {
    r"widenet::.*ErfMap": 24,
    r"widenet::.*ReluMap": 24,
    r"widenet::.*GeluMap": 30,
    r"widenet::.*SeriesMap": 6,
    r"widenet::.*activate\(": 60,
    r"linear::.*TileRow::operator": 30,
    r"linear::.*Objective::loss": 40,
    r"linear::.*Spectrum::sums": 8,
    r"perceptron::prior_point": 30,
    r"perceptron::RowAverage::average": 24,
    r"perceptron::Channel::dispatch<double const\*>": 250,
    r"perceptron::odds_transform": 15,
    r"perceptron::.*update_prior": 30,
    r"perceptron::.*add_and_dot<double>": 16,
    r"perceptron::.*add_and_dot<float>": 16,
    r"perceptron::channel_evidence": 60,
    r"perceptron::PanelDensity::average": 40,
    r"perceptron::.*LossScore::operator": 60,
    r"perceptron::label_averages": 60,
    r"perceptron::.*score_slabs": 40,
    r"phases::.*run_shard": 30,
    r"phases::descend\(retemper::phases::DeepLinearProblem": 15,
    r"phases::flow\(retemper::phases::DeepLinearProblem": 12,
    r"phases::descend\(retemper::phases::TwoLayerProblem": 5,
    r"phases::.*Linearised::pass": 20,
    r"phases::target_products": 14,
    r"diagonal::mirror_map": 20,
    r"diagonal::mirror_prox\(Eigen": 60,
    r"diagonal::.*Solver::advance": 30,
    r"diagonal::.*DualSystem::iterate": 25,
    r"diagonal::.*::component<true>": 100,
    r"diagonal::margin_averages": 60,
    r"diagonal::.*DeepNewton::evaluate": 60,
    r"diagonal::.*DeepNewton::slope_along": 60,
    r"diagonal::.*::deep_component<false>": 100,
    r"numerics::fill_normal": 40,
    r"numerics::elementwise::.*each_log_ndtr": 45,
    r"gebp_kernel<double, double": 30,
}

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
_WIDE = re.compile(r"\bv(?:fn?m(?:add|sub)\d+|add|sub|mul|div|sqrt|max|min)pd\s.*%([yz]mm)")


def wide_instructions(obj: Path, register: str) -> Counter:
    """Arithmetic on whole registers in every function of an object."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", str(obj)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, name = Counter(), ""
    for line in listing.splitlines():
        if head := _FUNCTION.match(line):
            name = head[1]
        elif (hit := _WIDE.search(line)) and hit[1] == register:
            found[name] += 1
    return found


def objects(build: Path) -> dict[str, list[Path]]:
    """The objects of every level under a build folder."""
    return {
        level: files
        for level in REGISTER
        if (files := sorted(build.glob(f"**/CMakeFiles/retemper_{level}.dir/**/*.o")))
    }


def lost(files: list[Path], level: str) -> list[str]:
    """What is wrong with the objects of one level, a line for each function."""
    found = Counter()
    for file in files:
        found += wide_instructions(file, REGISTER[level])
    lines = []
    for pattern, least in HOT.items():
        most = max((n for name, n in found.items() if re.search(pattern, name)), default=0)
        if most < least:
            lines.append(f"{level}: {pattern} has {most} wide instructions, expected {least}")
    return lines


def main(build: str) -> int:
    """Print what was lost; zero if nothing was."""
    if not shutil.which("objdump"):
        sys.stderr.write("objdump is not installed: apt install binutils\n")
        return 2
    levels = objects(Path(build))
    if not levels:
        sys.stderr.write(f"no objects of {' or '.join(REGISTER)} under {build}\n")
        return 2
    lines = [line for level, files in levels.items() for line in lost(files, level)]
    print(*lines or [f"all {len(HOT)} hot functions are wide at {' and '.join(levels)}"], sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
