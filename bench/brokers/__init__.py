"""Brokers that are measured to or beside: each of its own, empty, for as long as a block runs."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from driver.load import LoadError

HERE = Path(__file__).resolve().parent
AMQP, DIST, EPMD, NATS = 54340, 54341, 54342, 54344


def owned(*command):
    """A command as the server's owner."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


def empty_directory(server, name):
    """A directory of that name which the server's owner may write to."""
    home = server.run_dir / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    return home


def until_listening(program, port):
    """Waits for a broker."""
    for _ in range(1200):
        if program.poll() is not None:
            raise LoadError(f"{program.args[-1]} ended with {program.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise LoadError(f"{program.args[-1]} does not start")


@contextlib.contextmanager
def programs(commands, env, home):
    """Programs in groups of their own, killed at the end."""
    options = {"env": env, "cwd": home, "start_new_session": True,
               "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(owned(*command), **options) for command in commands]
    try:
        yield running
    finally:
        for program in running:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def brokers_file(server, text):
    """The file that tells a daemon of its broker; nobody else may read it."""
    path = server.run_dir / "brokers.conf"
    path.touch(0o600)
    path.write_text(text)
    return f"--brokers={path}"


def rabbit_environment(home):
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(AMQP), "RABBITMQ_DIST_PORT": str(DIST),
            "ERL_EPMD_PORT": str(EPMD), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"), "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid")}


@contextlib.contextmanager
def rabbitmq(server, *plugins):
    """A RabbitMQ with these plugins; yields what runs rabbitmqctl at it."""
    home = empty_directory(server, "rabbit")
    env = rabbit_environment(home)
    if plugins:
        (home / "plugins").write_text(f"[{','.join(plugins)}].\n")

    def control(*arguments):
        done = subprocess.run(owned("/usr/lib/rabbitmq/bin/rabbitmqctl", *arguments), env=env,
                              cwd=home, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LoadError(f"rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}")

    commands = (["epmd", "-port", str(EPMD), "-address", "127.0.0.1"],
                ["/usr/lib/rabbitmq/bin/rabbitmq-server"])
    with programs(commands, env, home) as running:
        until_listening(running[1], AMQP)
        yield control


@contextlib.contextmanager
def nats(server):
    """A nats-server with JetStream on disk."""
    home = empty_directory(server, "nats")
    command = ["nats-server", "--addr", "127.0.0.1", "--port", str(NATS), "--jetstream",
               "--store_dir", str(home)]
    with programs([command], {"PATH": os.environ["PATH"] + ":/usr/sbin"}, home) as running:
        until_listening(running[0], NATS)
        yield f"nats://127.0.0.1:{NATS}"
