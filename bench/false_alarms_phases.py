"""How often the online detector is wrong, and how late: ``python bench/false_alarms_phases.py``.

Independent noise of standard error 1, ``relative = 0``: a fall of 10 over the first half of the J
checkpoints and nothing after it, and noise alone; then a rise of s per checkpoint after a fall.
"""

import argparse

import numpy as np

from retemper.phases import PhaseDetector


def alarm_at(values, **settings):
    detector = PhaseDetector(min_stderr=0.0, relative=0.0, **settings)
    for j, value in enumerate(values):
        if detector.update(j, value, 1.0):
            return j
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    columns = [(f"{k} standard errors", {"n_sigmas": k}) for k in (3.0, 3.5, 4.0)]
    columns.append(("3.5, no persistence", {"n_sigmas": 3.5, "persistence": 1}))
    print("share of runs with a false alarm: flat after a fall / noise alone")
    print(f"{'J':>4}" + "".join(f"{name:>22}" for name, _ in columns))
    for J in (10, 15, 20, 40):
        row = f"{J:>4}"
        for _, settings in columns:
            rates = []
            for drop in (10.0, 0.0):
                level = drop * np.maximum(0.0, 1.0 - np.arange(J) / (J // 2))
                found = [alarm_at(level + rng.normal(size=J), **settings) for _ in range(runs)]
                rates.append(np.mean([f is not None for f in found]))
            row += f"{rates[0]:>15.4f}/{rates[1]:.4f}"
        print(row)
    print("delay in checkpoints after the last flat one; a fall of 10, then s more each")
    for slope in (0.5, 1.0, 2.0, 4.0):
        delays, missed = [], 0
        for _ in range(runs):
            J = 20
            level = np.concatenate([[10.0, 6.0, 3.0, 0, 0, 0], slope * np.arange(1, J - 5)])
            found = alarm_at(level + rng.normal(size=J))
            missed += found is None
            if found is not None:
                delays.append(found - 5)
        print(f"  s = {slope}: median {np.median(delays):.0f}, missed {missed / runs:.4f}")


if __name__ == "__main__":
    main()
