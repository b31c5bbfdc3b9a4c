"""Fit the polynomials of ``retemper/numerics/vector_math.hpp`` and write their coefficients.

Every function is interpolated at Chebyshev nodes with 60 digits and only the final
coefficients are rounded to double. Run without arguments to rewrite the committed header,
with ``--check`` to compare it with a fresh fit. Needs mpmath and nothing else.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath as mp

HEADER = (
    Path(__file__).resolve().parents[1] / "include/retemper/numerics/vector_math_coefficients.hpp"
)
DIGITS = 60

Real = mp.mpf
Function = Callable[[Real], Real]


def chebyshev_nodes(low: Real, high: Real, n: int) -> list[Real]:
    """Return the ``n`` zeros of the Chebyshev polynomial of degree ``n`` on an interval."""
    angle = (mp.pi * (2 * i + 1) / (2 * n) for i in range(n))
    return [(low + high) / 2 + (high - low) / 2 * mp.cos(a) for a in angle]


def polynomial(f: Function, low: Real, high: Real, degree: int) -> list[Real]:
    """Interpolate ``f`` at Chebyshev nodes; coefficients of rising powers."""
    return rational(f, low, high, degree, 0)[0]


def rational(
    f: Function, low: Real, high: Real, above: int, below: int
) -> tuple[list[Real], list[Real]]:
    """Interpolate ``f`` by a ratio of polynomials whose denominator starts with one."""
    n = above + below + 1
    node = chebyshev_nodes(mp.mpf(low), mp.mpf(high), n)
    matrix, right = mp.matrix(n, n), mp.matrix(n, 1)
    for i, x in enumerate(node):
        value = f(x)
        right[i] = value
        for j in range(above + 1):
            matrix[i, j] = x**j
        for j in range(1, below + 1):
            matrix[i, above + j] = -value * x**j
    solution = list(mp.lu_solve(matrix, right))
    return solution[: above + 1], [mp.mpf(1), *solution[above + 1 :]]


def lower_normal_quantile(log_p: Real) -> Real:
    """Return x with log Phi(x) = ``log_p`` <= log(1/2), by Newton's iteration."""
    x = -mp.sqrt(-2 * log_p)
    for _ in range(100):
        tail = mp.erfc(-x / mp.sqrt(2)) / 2
        step = (mp.log(tail) - log_p) * tail * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
        x -= step
        if abs(step) <= abs(x) * mp.mpf(10) ** (5 - DIGITS):
            return x
    raise ArithmeticError(f"no quantile found at log p = {log_p}")


def split(value: Real, bits: int) -> tuple[Real, Real]:
    """Split into a head of ``bits`` significant bits and the rest."""
    scale = mp.mpf(2) ** (bits - 1 - int(mp.floor(mp.log(abs(value), 2))))
    head = mp.nint(value * scale) / scale
    return head, value - head


# Where the fits are joined: vector_math.hpp reads these from the header too.
ERFCX_CENTRE = mp.mpf("3.5")
EXCESS_CENTRE = mp.mpf(4)
NDTRI_SWITCH = mp.mpf("0.375")  # |p - 1/2| up to which the central ratio holds
NDTRI_CENTRE = mp.mpf(4)


def fit_exp() -> dict[str, list[Real]]:
    """(e^r - 1 - r) / r^2 on half an octave to either side."""
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    return {"exp_tail": polynomial(lambda r: (mp.expm1(r) - r) / r**2, -half, half, 9)}


def fit_log() -> dict[str, list[Real]]:
    """(2 atanh(s) / s - 2) / s^2 in z = s^2, s = (m - 1) / (m + 1), m within sqrt(2) of one."""
    largest = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2

    def f(z: Real) -> Real:
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) / s - 2) / z

    return {"log_tail": polynomial(f, mp.mpf(0), largest * mp.mpf("1.0001"), 7)}


def fit_erfcx() -> dict[str, list[Real]]:
    """((1 + 2 x) erfcx(x) - 1) / (1 + t) in t = (x - c) / (x + c), all x >= 0."""

    def f(t: Real) -> Real:
        x = ERFCX_CENTRE * (1 + t) / (1 - t)
        return ((1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - 1) / (1 + t)

    return {"erfcx_rise": polynomial(f, mp.mpf(-1), mp.mpf(1), 22)}


def fit_excess() -> dict[str, list[Real]]:
    """(1 + t) (phi(t) / Phi(-t) - t) in y = (t - c) / (t + c), all t >= 0."""

    def f(y: Real) -> Real:
        t = EXCESS_CENTRE * (1 + y) / (1 - y)
        if t < 200:
            hazard = mp.sqrt(2 / mp.pi) / (mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)))
            return (1 + t) * (hazard - t)
        fraction = mp.mpf(0)  # 1 / (t + 2 / (t + 3 / (t + ...)))
        for k in range(300, 0, -1):
            fraction = k / (t + fraction)
        return (1 + t) * fraction

    return {"hazard_excess": polynomial(f, mp.mpf(-1), mp.mpf(1), 26)}


def fit_asin() -> dict[str, list[Real]]:
    """(asin(x) / x - 1) / x^2 in z = x^2, |x| <= 1/2."""

    def f(z: Real) -> Real:
        x = mp.sqrt(z)
        return (mp.asin(x) / x - 1) / z

    return {"asin_tail": polynomial(f, mp.mpf(0), mp.mpf("0.25"), 12)}


def fit_ramp() -> dict[str, list[Real]]:
    """f(t) = t acos(-t) + sqrt(1 - t^2): (f - 1 - pi t / 2) / t^2 in t^2 inside |t| <= 1/2, and for
    t below f / (s z) in z = s^2 = (1 + t) / 2.
    """

    def inside(z: Real) -> Real:
        t = mp.sqrt(z)
        return (t * mp.asin(t) + mp.sqrt(1 - z) - 1) / z

    def outside(z: Real) -> Real:
        s = mp.sqrt(z)
        return (2 * s * mp.sqrt(1 - z) - 2 * (1 - 2 * z) * mp.asin(s)) / (s * z)

    return {
        "ramp_even": polynomial(inside, mp.mpf(0), mp.mpf("0.25"), 10),
        "ramp_below": polynomial(outside, mp.mpf(0), mp.mpf("0.25"), 11),
    }


def fit_ndtri() -> dict[str, list[Real]]:
    """Normal quantile: x / (p - 1/2) in the centre, -x / s with s = sqrt(-2 log p) in the tail."""

    def centre(z: Real) -> Real:  # z = switch^2 - (p - 1/2)^2, so that no term cancels
        q = mp.sqrt(NDTRI_SWITCH**2 - z)
        return -lower_normal_quantile(mp.log(mp.mpf("0.5") - q)) / q

    def place(s: Real) -> Real:
        return (s - NDTRI_CENTRE) / (s + NDTRI_CENTRE)

    def tail(t: Real) -> Real:
        s = NDTRI_CENTRE * (1 + t) / (1 - t)
        return -lower_normal_quantile(-s * s / 2) / s

    first = mp.sqrt(-2 * mp.log(mp.mpf("0.5") - NDTRI_SWITCH)) * mp.mpf("0.9999")
    last = mp.mpf("38.7")  # the smallest double has s = 38.59
    centre_above, centre_below = rational(centre, mp.mpf(0), NDTRI_SWITCH**2, 7, 6)
    return {
        "ndtri_centre_above": centre_above,
        "ndtri_centre_below": centre_below,
        "ndtri_tail": polynomial(tail, place(first), place(last), 28),
    }


FITS = {
    "exp": fit_exp,
    "log": fit_log,
    "erfcx": fit_erfcx,
    "excess": fit_excess,
    "asin": fit_asin,
    "ramp": fit_ramp,
    "ndtri": fit_ndtri,
}


def constants() -> dict[str, Real]:
    """Return the constants; a head of 32 bits times an exponent is exact in double."""
    log_2_high, log_2_low = split(mp.log(2), 32)
    half_pi_high, half_pi_low = split(mp.pi / 2, 53)
    return {
        "log_2_high": log_2_high,
        "log_2_low": log_2_low,
        "log2_e": 1 / mp.log(2),
        "half_pi_high": half_pi_high,
        "half_pi_low": half_pi_low,
        "sqrt_half": mp.sqrt(mp.mpf("0.5")),
        "one_over_sqrt_pi": 1 / mp.sqrt(mp.pi),
        "one_over_sqrt_2pi": 1 / mp.sqrt(2 * mp.pi),
        "sqrt_2_over_pi": mp.sqrt(2 / mp.pi),
        "erfcx_centre": ERFCX_CENTRE,
        "excess_centre": EXCESS_CENTRE,
        "ndtri_switch": NDTRI_SWITCH,
        "ndtri_centre": NDTRI_CENTRE,
    }


def fit(name: str) -> list[str]:
    """Return the lines of the header that hold the fit ``name``."""
    lines = [
        "",
        *(f"// {line.strip()}" for line in (FITS[name].__doc__ or "").strip().splitlines()),
    ]
    for array, coefficients in FITS[name]().items():
        lines.append(f"inline constexpr double {array}[] = {{")
        lines += [f"    {float(value)!r}," for value in coefficients]
        lines.append("};")
    return lines


def header() -> str:
    """Return the whole header."""
    lines = [
        "// Written by cpp/tools/fit_vector_math.py: change that, not this.",
        "#pragma once",
        "",
        "// clang-format off",
        "namespace retemper::numerics::vm::coefficient {",
        "",
        *(f"inline constexpr double {name} = {float(x)!r};" for name, x in constants().items()),
    ]
    for name in FITS:
        lines += fit(name)
    lines += ["", "}  // namespace retemper::numerics::vm::coefficient", "// clang-format on", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the header; zero if it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--output", type=Path, default=HEADER)
    options = parser.parse_args(arguments)
    with mp.workdps(DIGITS):
        text = header()
    if not options.check:
        options.output.write_text(text, encoding="utf-8")
        return 0
    if options.output.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(
        f"{options.output} differs from a fresh fit: run this script without --check\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
