"""Queues that are measured beside the message bus: a directory of scripts each.

README.md says which scripts there are. Those that come with a library of their own are
driven through it (setup.mjs, load.mjs), PgQ with its daemon.
"""
import contextlib
import subprocess
from pathlib import Path

from contenders import Contender
from driver.load import PAYLOAD, LoadError, client_program

CLIENTS = 8


class Queue(Contender):
    """SQL, run by pgbench."""
    # Clients that consume; and the part of the others' messages that it is fast enough for.
    consumers = CLIENTS
    part = 1
    # Does it have an outcome per message, or only per batch?
    per_message = True

    def __init__(self, name, title):
        super().__init__(name, title)
        self.database = f"bench_queue_{name}"
        self.directory = Path(__file__).resolve().parent / name

    def produce(self, server, batch, *options):
        return self.start(server, "produce", CLIENTS, batch, *options)

    def consume(self, server, batch):
        return self.start(server, "consume", self.consumers, batch, "-T", "3600")

    def start(self, server, script, clients, batch, *options):
        """Starts a pgbench; synchronous_commit is off, as the bounds say."""
        command = [str(server.bindir / "pgbench"), "-n", "-M", "prepared", "-c", str(clients),
                   "-j", "1", "-f", str(self.script(script)), "-D", f"batch={batch}",
                   "-D", f"data={PAYLOAD}", *map(str, options)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=server.environment(self.database, "-c synchronous_commit=off"))

    def transactions(self, producer):
        """How many a producer that has ended has done."""
        return int(producer.stdout.read().split("actually processed: ")[1].split()[0])

    def check(self, consumer, consumed):
        """Raises unless consumers that have ended say the same; pgbench has nothing to say."""

    @contextlib.contextmanager
    def watch(self, server):
        """A function that says whether nothing is left, in a session of its own.

        To connect costs the server more CPU than some queues take for twenty messages: enter
        before a Meter.
        """
        with session(server, self.database) as ask:
            yield lambda: ask(self.script("empty").read_text()) == "t"

    def helper(self, server):
        """What must run beside the server while the queue is used."""
        return contextlib.nullcontext()


class Library(Queue):
    """One process of node per side, with a connection per client."""
    # Slow enough for a tenth to tell.
    part = 10

    def install(self, server, database=None):
        server.create_database(self.database)
        subprocess.run(["node", str(self.directory / "setup.mjs")], check=True,
                       env=server.environment(self.database), stdout=subprocess.DEVNULL)

    def has(self, name):
        return True

    def command(self, script, clients, batch, *options):
        return ["node", str(self.directory / "load.mjs"), script, str(clients), str(batch),
                *map(str, options)]

    def start(self, server, script, clients, batch, *options):
        """Starts a load; returns when node has loaded what it needs, and the load begins."""
        process = subprocess.Popen(self.command(script, clients, batch, *options), text=True,
                                   env=self.environment(server, "off"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        if process.stdout.readline() != "ready\n":
            raise LoadError(f"{self.name} {script}: {process.stderr.read()}")
        return process

    def environment(self, server, commit):
        return dict(server.environment(self.database, f"-c synchronous_commit={commit}"),
                    BENCH_PAYLOAD=PAYLOAD)

    def handoff(self, server, count, commit):
        """Times from a commit to the handler, as src/handoff.c prints them."""
        return client_program(server, self.command("handoff", 1, 1, "-t", count),
                              self.environment(server, commit))

    def transactions(self, producer):
        return int(producer.stdout.read().split("transactions ")[1].split()[0])

    def check(self, consumer, consumed):
        said = int(consumer.stdout.read().split("consumed ")[1].split()[0])
        if said != consumed:
            raise LoadError(f"{self.name}: it says {said} were consumed, its tables {consumed}")


class PgQ(Queue):
    """Skytools' queue: a consumer takes whatever came between two ticks of the daemon."""
    consumers = 1
    per_message = False

    def install(self, server, database=None):
        share = server.bindir.parents[3] / "share/postgresql" / server.bindir.parent.name
        if not (share / "extension/pgq.control").exists():
            raise LoadError(f"no pgq in {share}: remove build/pg and type `make bench` again")
        super().install(server, database)

    @contextlib.contextmanager
    def helper(self, server):
        configuration = server.run_dir / "pgqd.ini"
        env = server.environment(self.database)
        configuration.write_text(
            f"[pgqd]\nbase_connstr = host={env['PGHOST']} port={env['PGPORT']} user=postgres\n"
            f"initial_database = {self.database}\ndatabase_list = {self.database}\n"
            "syslog = 0\nticker_period = 0.02\n")
        daemon = subprocess.Popen(["pgqd", "-q", str(configuration)], env=env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            daemon.terminate()
            daemon.wait()


@contextlib.contextmanager
def session(server, database):
    """A psql that stays connected, as a function from SQL to the one line that it prints."""
    psql = subprocess.Popen([str(server.bindir / "psql"), "-XqAt"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, env=server.environment(database))

    def ask(statements):
        psql.stdin.write(statements + "\n")
        psql.stdin.flush()
        line = psql.stdout.readline()
        if not line:
            raise LoadError(f"psql ended on: {statements}")
        return line.rstrip("\n")

    try:
        ask("SELECT 1;")
        yield ask
    finally:
        psql.stdin.close()
        psql.wait()


@contextlib.contextmanager
def held_snapshot(server, database):
    """A session with an open REPEATABLE READ snapshot, for as long as the block lasts."""
    with session(server, database) as ask:
        ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;")
        yield


def all_queues(*names):
    """These queues (all if none), ours first."""
    queues = (Queue("ours", "ecommerce"), Queue("skip_locked", "SKIP LOCKED table"),
              PgQ("pgq", "PgQ"), Library("pg_boss", "pg-boss"),
              Library("graphile_worker", "graphile-worker"))
    return [queue for queue in queues if not names or queue.name in names]
