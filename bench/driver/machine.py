"""Describes the machine that the numbers were taken on."""
import os
import platform
import statistics
import time
from pathlib import Path


def _first(path, key):
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"


def fdatasync_latency(directory: Path, count=500):
    """Median seconds of writing 8 KB over existing blocks and flushing them."""
    path = directory / "fsync-probe"
    block = os.urandom(8192)
    taken = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(64):
            os.write(fd, block)
        os.fsync(fd)
        for turn in range(count):
            os.lseek(fd, turn % 64 * 8192, os.SEEK_SET)
            began = time.perf_counter()
            os.write(fd, block)
            os.fdatasync(fd)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(taken)


def describe(server):
    """Lines of (what, value)."""
    memory = int(_first("/proc/meminfo", "MemTotal").split()[0]) / 1048576
    sync = fdatasync_latency(server.run_dir) * 1e6
    settings = ", ".join(f"{name} = {value}" for name, value in server.settings.items() if value)
    return [
        ("processor", f"{_first('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores"),
        ("memory", f"{memory:.1f} GB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("PostgreSQL", server.sql("postgres", "SELECT version()").split(" on ")[0]),
        ("fdatasync", f"{sync:.0f} us for 8 KB (median of 500)"),
        ("load", f"{os.getloadavg()[0]:.2f} before the run"),
        ("settings", settings),
    ]
