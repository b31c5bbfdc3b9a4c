"""Our way against libraries that could take its place; those that are installed are measured.

``python bench/decisions.py`` prints what the section on decisions in CONTRIBUTING.md says. Best of
five, processor time; h5netcdf, zarr and arviz are no dependencies of ours.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from retemper.widenet.chains import effective_sample_size, split_r_hat


def files(path):
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def digest(path):
    return hashlib.sha256(b"".join(p.read_bytes() for p in files(path))).hexdigest()


def sweeps():
    """Ten quantities on a grid of 50 x 50 x 4, written five times."""
    rng, shape = np.random.default_rng(0), (50, 50, 4)
    data = xr.Dataset({f"q{k}": (("a", "b", "seed"), rng.normal(size=shape)) for k in range(10)})
    writers = {
        "scipy": lambda p: data.to_netcdf(p, engine="scipy", format="NETCDF3_64BIT"),
        "h5netcdf": lambda p: data.to_netcdf(p, engine="h5netcdf"),
        "zarr": lambda p: data.to_zarr(p, consolidated=False),
    }
    for name, write in writers.items():
        if not find_spec(name):
            print(f"{name}: not installed")
            continue
        seconds, seen = [], set()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sweep")
            for _ in range(5):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
                start = time.process_time()
                write(path)
                seconds.append(time.process_time() - start)
                seen.add(digest(path))
            size = sum(p.stat().st_size for p in files(path)) / 1e6
            print(
                f"{name}: {1e3 * min(seconds):.1f} ms, {size:.2f} MB in {len(files(path))} files, "
                f"{'equal bytes' if len(seen) == 1 else 'other bytes'} every time"
            )


def chains():
    """Eight chains of 4000 draws of an autoregression of 0.9."""
    rng = np.random.default_rng(0)
    x = np.empty((8, 4000))
    x[:, 0] = rng.normal(size=8)
    for t in range(1, 4000):
        x[:, t] = 0.9 * x[:, t - 1] + (1 - 0.81) ** 0.5 * rng.normal(size=8)
    print(f"exact: effective size {32000 * 0.1 / 1.9:.0f}")
    print(f"ours: effective size {effective_sample_size(x):.0f}, R-hat {split_r_hat(x)!r}")
    if not find_spec("arviz"):
        print("arviz: not installed")
        return
    took = "import time; a = time.process_time(); import arviz; print(time.process_time() - a)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", took], capture_output=True, text=True, check=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz

        size, r_hat = arviz.ess(x, method="mean"), arviz.rhat(x, method="split")
    seconds = float(done.stdout.split()[-1])
    print(f"arviz: effective size {size:.0f}, R-hat {float(r_hat)!r}, import {seconds:.1f} s")


if __name__ == "__main__":
    sweeps()
    chains()
