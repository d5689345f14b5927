"""Who is measured.  Each contender is a directory of SQL and pgbench scripts.

A pgbench script has the same name and does the same work for every contender:

    append_new       one event on a stream that does not exist yet, version 0 expected
    append_existing  one event on one of :streams streams of this client, each
                     in its turn, with the version it must be at expected

    read_stream      one of :pool streams named :prefix
    read_all         the first :rows events of all

and finds :run, :i, :streams, :data and :metadata set (driver/load.py).  fill is for psql: it
writes the streams :first to :last, :length events each, named :prefix.
"""
import subprocess
from pathlib import Path

from driver import load

HERE = Path(__file__).resolve().parent


class Contender:
    def __init__(self, name, title, options=""):
        self.name = name
        self.title = title
        self.options = options
        # Further variables of its pgbench scripts.
        self.variables = {}
        self.database = f"bench_{name}"
        self.directory = HERE / name

    def script(self, name):
        return self.directory / f"{name}.sql"

    def has(self, name):
        return self.script(name).exists()

    def install(self, server, database=None):
        """Makes a database with this contender's objects, empty."""
        database = database or self.database
        server.create_database(database)
        server.psql(database, "-f", self.script("setup"))

    def append(self, server, kind, **options):
        """Appends single events, kind new or existing; returns the metrics."""
        return load.pgbench(server, self, self.script(f"append_{kind}"), **options)


class MessageDb(Contender):
    """@eventide/message-db, installed by its own script."""

    def __init__(self, modules):
        super().__init__("message_db", "message-db 1.3.1", "-c search_path=message_store,public")
        self.modules = modules

    def install(self, server, database=None):
        database = database or self.database
        server.create_database(database)
        env = dict(server.environment(database, "-c client_min_messages=warning"),
                   DATABASE_NAME=database, CREATE_DATABASE="off")
        script = self.modules / "@eventide/message-db/database/install.sh"
        subprocess.run(["bash", str(script)], env=env, check=True,
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


class Emmett(Contender):
    """@event-driven-io/emmett-postgresql: its SQL function, called by pgbench."""

    def __init__(self, name, title):
        super().__init__(name, title)
        self.directory = HERE / "emmett"
        # Not in the scripts, where pgbench would take :default for a variable.
        self.variables = {"partition": "emt:default"}

    def install(self, server, database=None):
        database = database or self.database
        server.create_database(database)
        subprocess.run(["node", str(self.directory / "migrate.mjs")],
                       env=server.environment(database), check=True, stdout=subprocess.DEVNULL)


class EmmettLibrary(Emmett):
    """The same through its library: one process of node, a connection per client."""

    def append(self, server, kind, *, clients, seconds, synchronous_commit=True):
        options = f"-c synchronous_commit={'on' if synchronous_commit else 'off'}"
        env = dict(server.environment(self.database, options), BENCH_PAYLOAD=load.PAYLOAD,
                   BENCH_METADATA=load.METADATA)
        return load.client_program(
            server, ["node", str(self.directory / "load.mjs"), kind, str(clients), str(seconds)], env)


def all_contenders(modules: Path):
    """All contenders by name, the limit first: ratios are against it."""
    return {contender.name: contender for contender in (
        Contender("limit", "plain INSERT"),
        Contender("limit_lean", "plain INSERT, three indexes less"),
        Contender("ours", "ecommerce"),
        MessageDb(modules),
        Emmett("emmett", "Emmett 0.42.0, its SQL function"),
        EmmettLibrary("emmett_node", "Emmett 0.42.0, its library"),
    )}
