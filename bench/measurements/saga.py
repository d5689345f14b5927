"""Five-step sagas beside DBOS Transact, the lateness of timers, the worker at rest."""
import time
from pathlib import Path

from contenders import Contender
from driver.load import LoadError, Meter, client_program
from driver.registry import Bound, Case, Column, Measurement

# A saga of five steps makes six transitions: it begins, and each answer moves it.
TRANSITIONS = 6
CLIENTS = 16
STEPS = "five steps, answers queued, commit on"
TIMERS = "200 timers/s"
IDLE = "nothing happens for 10 s"
SAGAS = Path(__file__).resolve().parent.parent / "sagas"
WORKERS = ("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'ecommerce %' "
           "AND coalesce(datname, current_database()) = current_database()")


class Sagas(Contender):
    def __init__(self):
        super().__init__("ours", "ecommerce")
        self.database = "bench_saga"
        self.directory = SAGAS / "ours"


def run_steps(bench, ours):
    """From the first message taken by the worker until the last saga has ended."""
    def run():
        server = bench.server
        sagas = 2_000 if bench.quick else 10_000
        server.sql(ours.database, "SELECT message_bus.pause('steps')")
        server.sql(ours.database, f"CALL queue_up({sagas})")
        with Meter(server) as meter:
            began = time.monotonic()
            server.sql(ours.database, "SELECT message_bus.resume('steps')")
            server.wait_until(ours.database, "SELECT depth = 0 FROM message_bus.endpoints "
                              "WHERE name = 'steps'", timeout=600)
            elapsed = time.monotonic() - began
        left = server.sql(ours.database, "SELECT count(*) FROM saga.instance "
                          "WHERE saga = 'steps' AND current_state <> 'Completed'")
        if left != "0":
            raise LoadError(f"{left} sagas have not ended")
        made = sagas * TRANSITIONS
        return {"per_s": made / elapsed, **meter.cost.per(made)}
    return run


def run_dbos(bench):
    """The same number of steps through its library, one process with a pool of connections."""
    def run():
        server = bench.server
        workflows = 400 if bench.quick else 2_000
        server.create_database("bench_dbos")
        command = ["node", str(SAGAS / "dbos" / "load.mjs"), str(CLIENTS), str(workflows)]
        metrics = client_program(server, command, server.environment("bench_dbos"))
        return {"per_s": metrics["workflows_per_s"] * TRANSITIONS, "foreign": metrics["foreign"]}
    return run


def run_timers(bench, ours):
    def run():
        server = bench.server
        seconds = 3 if bench.quick else 20
        server.sql(ours.database, "SELECT saga.delete(saga, correlation_id) FROM saga.instance "
                   "WHERE saga = 'alarm'")
        with Meter(server) as meter:
            server.sql(ours.database, f"SELECT set_timers({seconds})")
            time.sleep(seconds + 2)
            server.wait_until(ours.database, "SELECT count(*) = "
                              f"{seconds * 200} FROM saga.instance WHERE current_state = 'Rung'")
        row = server.sql(ours.database, "SELECT percentile_cont(ARRAY[0.5, 0.99]) "
                         "WITHIN GROUP (ORDER BY ms) FROM lateness")
        p50, p99 = map(float, row.strip("{}").split(","))
        return {"p50_ms": p50, "p99_ms": p99, **meter.cost.per(seconds * 200)}
    return run


def switches(pids):
    """How often these processes have gone to sleep and were woken, or lost the processor."""
    return sum(int(line.split()[1]) for pid in pids
               for line in Path(f"/proc/{pid}/status").read_text().splitlines()
               if "ctxt_switches" in line)


def run_idle(bench, ours):
    """A database of its own with a hundred sagas whose timers are far away."""
    def run():
        server, database = bench.server, "bench_saga_idle"
        ours.install(server, database)
        server.sql(database, "SELECT count(message_bus.publish('Set', jsonb_build_object('id', "
                   "gen_random_uuid(), 'at', now() + interval '1 day'))) "
                   "FROM generate_series(1, 100)")
        server.wait_until(database, "SELECT count(*) = 100 FROM saga.timers")
        pids = server.sql(database, WORKERS).split()
        if len(pids) < 2:
            raise LoadError("the worker does not run")
        # What the statements above left to do is done after this; counters that PostgreSQL would
        # not take so soon after the last ones it is given 10 s later.
        for _ in range(5):
            counted = switches(pids)
            time.sleep(12)
            if switches(pids) == counted:
                break
        with Meter(server) as meter:
            counted = switches(pids)
            time.sleep(10)
            counted = switches(pids) - counted
        return {"wakeups": counted, "foreign": meter.cost.foreign}
    return run


def cases(bench):
    ours = Sagas()
    ours.install(bench.server)
    made = []
    if "ours" in bench.contenders:
        made.append(Case(STEPS, "ours", run_steps(bench, ours)))
    made.append(Case(STEPS, "dbos", run_dbos(bench)))
    if "ours" in bench.contenders:
        made += [Case(TIMERS, "ours", run_timers(bench, ours)),
                 Case(IDLE, "ours", run_idle(bench, ours))]
    return made


Measurement(
    name="saga",
    title="sagas of five steps, timers, rest",
    cases=cases,
    baseline="dbos",
    columns=[Column("per_s", "transitions/s"), Column("cpu_us", "CPU us each", "{:.1f}"),
             Column("wal_bytes", "WAL bytes each"), Column("p50_ms", "late, p50 ms", "{:.2f}"),
             Column("p99_ms", "p99 ms", "{:.2f}"), Column("wakeups", "wake-ups")],
    bounds=[
        Bound("transitions per second through the worker", 5000, True,
              lambda s: s.median(STEPS, "ours", "per_s"), "{:,.0f}"),
        Bound("five steps: times DBOS Transact", 5.0, True,
              lambda s: s.ratio(STEPS, "per_s", to="dbos")),
        Bound("timer lateness at 200/s, p50 in ms", 2.0, False,
              lambda s: s.median(TIMERS, "ours", "p50_ms")),
        Bound("timer lateness at 200/s, p99 in ms", 10.0, False,
              lambda s: s.median(TIMERS, "ours", "p99_ms")),
        Bound("wake-ups of launcher and worker in 10 s", 0, False,
              lambda s: s.median(IDLE, "ours", "wakeups"), "{:.0f}"),
    ],
    notes="""
A saga begins, sends a command, and each of five answers moves it and sends the next one: six
transitions, five commands, a timer set each time. All messages are in the queue when the
endpoint is resumed; the sagas take turns. DBOS runs workflows of five steps that return a number,
counted as six transitions too. Lateness is that of the transition by the wall clock; it does
not contain its commit.""")
