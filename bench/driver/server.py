"""The PostgreSQL server that all contenders are measured on.

It belongs to the benchmark alone: its own data directory, its own port, a Unix
socket and no network.  PostgreSQL refuses to run as root, so for root the server
runs as the user postgres.  The data directory is thrown away at the start of a
run; what stays after a crash is a directory that the next run removes.
"""
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

PORT = 54329

# What differs from the defaults, and why.  Every report lists it.
SETTINGS = {
    "listen_addresses": "",
    # eight databases at most, each with its worker and runners, and the daemons of all
    "max_connections": "200",
    "max_worker_processes": "40",
    "shared_buffers": "1GB",
    # No checkpoint in the middle of a run, except where a measurement asks for one.
    "max_wal_size": "24GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "1h",
    "fsync": "on",
    "full_page_writes": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "shared_preload_libraries": "ecommerce",
}


class ServerError(Exception):
    """The server, or a statement sent to it, failed."""


class Server:
    def __init__(self, bindir: Path, run_dir: Path):
        self.bindir = bindir
        self.run_dir = run_dir
        self.data_dir = run_dir / "data"
        self.log = run_dir / "server.log"
        self.as_root = os.geteuid() == 0

    # -- life cycle -------------------------------------------------------

    def start(self, settings=None):
        """Makes a fresh cluster and starts it with SETTINGS and the given ones."""
        self.stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.run_dir.mkdir(parents=True)
        if self.as_root:
            entry = pwd.getpwnam("postgres")
            os.chown(self.run_dir, entry.pw_uid, entry.pw_gid)
        self._as_owner("initdb", "-D", self.data_dir, "-U", "postgres", "-A", "trust",
                       "-E", "UTF8", "--locale=C", "--no-sync")
        self.settings = dict(SETTINGS, **(settings or {}))
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        lines.append(f"unix_socket_directories = '{self.run_dir}'")
        lines.append(f"port = {PORT}")
        with open(self.data_dir / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n".join(lines) + "\n")
        self.launch()

    def launch(self):
        self._as_owner("pg_ctl", "-D", self.data_dir, "-l", self.log, "-w", "-s", "start")

    def stop(self):
        """Stops the server if this benchmark's data directory has one running."""
        if (self.data_dir / "postmaster.pid").exists():
            self._as_owner("pg_ctl", "-D", self.data_dir, "-m", "fast", "-w", "-s", "stop",
                           check=False)

    def _as_owner(self, program, *args, check=True):
        command = [str(self.bindir / program), *map(str, args)]
        if self.as_root:
            command = ["runuser", "-u", "postgres", "--", *command]
        # The server inherits our file descriptors; it must not hold our pipes open.
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                              if program == "initdb" else None, check=False, text=True)
        if check and done.returncode != 0:
            raise ServerError(f"{program} failed: {done.stderr or self.tail()}")

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) \
            if self.log.exists() else ""

    @property
    def postmaster_pid(self):
        return int((self.data_dir / "postmaster.pid").read_text().split()[0])

    # -- clients ----------------------------------------------------------

    def environment(self, database, options=""):
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        env.update(PGHOST=str(self.run_dir), PGPORT=str(PORT), PGUSER="postgres",
                   PGDATABASE=database, PGOPTIONS=options, PATH=f"{self.bindir}:{env['PATH']}")
        return env

    def psql(self, database, *args, options="-c client_min_messages=warning"):
        """Runs psql and returns its output without the last newline."""
        done = subprocess.run(
            [str(self.bindir / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *map(str, args)],
            env=self.environment(database, options), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return done.stdout.rstrip("\n")

    def sql(self, database, statement):
        return self.psql(database, "-c", statement)

    def create_database(self, name):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql("postgres", f"CREATE DATABASE {name}")

    def wait_until(self, database, condition, timeout=30):
        """Waits until a query that returns one boolean says true."""
        deadline = time.monotonic() + timeout
        while self.sql(database, condition) != "t":
            if time.monotonic() > deadline:
                raise ServerError(f"still not true after {timeout} s: {condition}")
            time.sleep(0.05)
