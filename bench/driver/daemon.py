"""Daemons of ours that are measured."""
import contextlib
import os
import subprocess
import time

from driver.load import LoadError
from driver.trees import ROOT


@contextlib.contextmanager
def daemon(name, *options, env):
    """Runs one at what env says; yields what waits, while it runs, until something holds."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    process = subprocess.Popen([str(ROOT / "build/services" / name), *options, "--pool-size=1"],
                               env={**outside, **env}, stderr=subprocess.DEVNULL)

    def until(holds):
        while not holds():
            if process.poll() is not None:
                raise LoadError(f"{name} ended with {process.returncode}")
            time.sleep(0.02)

    try:
        yield until
    finally:
        process.terminate()
        process.wait()
