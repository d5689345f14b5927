"""Builds of the extension to measure: of this tree, and of other commits beside it.

Each lies with a private copy of PostgreSQL in build/bench/trees.
"""
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREES = ROOT / "build" / "bench" / "trees"


def output(*command, cwd=ROOT):
    done = subprocess.run([str(word) for word in command], cwd=cwd, stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return done.stdout.strip()


def checkout(commit):
    """A directory with the files of a commit."""
    name = output("git", "rev-parse", "--verify", "--short=12", f"{commit}^{{commit}}")
    tree = TREES / name
    if not (tree / "Makefile").exists():
        tree.mkdir(parents=True, exist_ok=True)
        subprocess.run(f"git archive {name} | tar -x -C '{tree}'", shell=True, check=True,
                       cwd=ROOT)
        # What builds a copy of the tree asks git for its files.
        output("git", "init", "-q", cwd=tree)
        output("git", "add", "-A", cwd=tree)
    return tree


def build(commit):
    """Builds a commit, this tree if None; returns the directory for bindir()."""
    tree = checkout(commit) if commit else ROOT
    home = TREES / "here" if commit is None else tree
    home.mkdir(parents=True, exist_ok=True)
    built = output("ci/build", "release", cwd=tree)
    config = output("ci/private_pg", "pg_config", home / "pg")
    output("make", "-s", "-C", built, "-f", "extension.mk", "install", f"PG_CONFIG={config}")
    return home


def bindir(home):
    """The programs of PostgreSQL with that build."""
    return sorted((home / "pg").glob("usr/lib/postgresql/*/bin"))[-1]
