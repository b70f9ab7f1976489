"""Private servers: Redis, RabbitMQ and PostgreSQL on free ports of 127.0.0.1, their data in a folder of the test.

Nothing here touches a server that was already running, so killing, pausing and restarting are safe.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg
import redis
from waiting import until


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


TRIXIE = Path(__file__).parents[2] / ".tools" / "trixie"  # made by `make proofs`
# The server's folder becomes /data there; the mounts are the process's own and vanish with it.
CHROOT = """
mount --bind "$1" "$0/data" && mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc"
root=$0; shift; exec chroot "$root" "$@"
"""


class Server:
    """A server process with its data in ``folder``; what it prints goes to ``log``.

    Redis and RabbitMQ come from Debian trixie where `make proofs` has unpacked it, else from the machine.
    """

    name = ""
    in_trixie = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.in_trixie = type(self).in_trixie and (TRIXIE / ".ready").exists()
        self.home = Path("/data") if self.in_trixie else folder  # the folder, as the server sees it
        self.port = free_port()
        self.log = folder / "log"
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return os.environ | {"LC_ALL": "C"}

    def answers(self) -> bool:
        """Whether clients are served."""
        raise NotImplementedError

    def wrapped(self, command: list[str]) -> list[str]:
        """The command as it is started: inside trixie, or as it stands."""
        if not self.in_trixie:
            return command
        as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return ["unshare", *as_root, "--mount", "sh", "-c", CHROOT, str(TRIXIE), str(self.folder), *command]

    def spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.wrapped(self.command()),
                env=self.environment(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self.identity(),
            )

    def identity(self) -> dict[str, object]:
        """Whom the process runs as."""
        return {}

    def start(self) -> None:
        self.spawn()
        until(self.alive_and_answering, 60, f"{self.name} answers; its log: {self.log}")

    def alive_and_answering(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text(errors='replace')[-2000:]}"
        return self.answers()

    def stop(self) -> None:
        """End it in order; its data stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self._signal(how)
        if how != signal.SIGKILL:  # what is frozen must go on to end in order, and must not before it is killed
            self._signal(signal.SIGCONT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(10)
        self.process = None
        until(lambda: not listens(self.port), 10, f"{self.name} left its port")

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, as behind a dead switch."""
        self._signal(signal.SIGSTOP)
        until(lambda: self._states() == {"T"}, 30, f"every thread of {self.name} is stopped")

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _states(self) -> set[str]:
        """The states of the threads of the server's processes."""
        states = set()
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                state_and_group = file.read_text().rpartition(")")[2].split()
                if int(state_and_group[2]) == self.process.pid:
                    threads = (file.parent / "task").glob("*/stat")
                    states |= {thread.read_text().rpartition(")")[2].split()[0] for thread in threads}
        return states

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Redis(Server):
    """Redis with an append-only file that is written at once, as the configuration guide asks for a broker."""

    name = "Redis"
    in_trixie = True

    def command(self) -> list[str]:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.home,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        persistence = {"appendonly": "yes", "appendfsync": "always"}
        return [
            "redis-server",
            *(part for key, value in {**options, **persistence}.items() for part in (f"--{key}", str(value))),
        ]

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, socket_timeout=5)

    def answers(self) -> bool:
        with suppress(redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return bool(self.client().ping())
        return False

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def version(self) -> str:
        return f"Redis {self.client().info('server')['redis_version']}"


class RabbitMQ(Server):
    """A RabbitMQ node of its own; each project gets its own virtual host."""

    name = "RabbitMQ"
    in_trixie = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.distribution = free_port()
        self.node = f"proof{self.port}@localhost"

    def command(self) -> list[str]:
        return [self.program("rabbitmq-server")]

    def program(self, name: str) -> str:
        """The program itself: Debian's wrapper on the path becomes another user, who cannot write here."""
        behind = Path("/usr/lib/rabbitmq/bin") / name
        return str(behind) if self.in_trixie or behind.exists() else name

    def environment(self) -> dict[str, str]:
        config = self.folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = true\nlog.console.level = warning\n"
            "disk_free_limit.absolute = 50MB\nloopback_users = none\n"
        )
        return super().environment() | {
            "HOME": str(self.home),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_CONFIG_FILE": str(self.home / config.name),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "logs"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(self.home / "plugins"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def control(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` says."""
        command = [self.program("rabbitmqctl"), "--quiet", "--node", self.node, *arguments]
        done = subprocess.run(
            self.wrapped(command), env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def answers(self) -> bool:
        return listens(self.port)

    def virtual_host(self, name: str) -> str:
        """Make a virtual host and return its address."""
        self.control("add_vhost", name)
        self.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"

    @property
    def version(self) -> str:
        return f"RabbitMQ {self.control('version').strip()}"


class PostgreSQL(Server):
    """PostgreSQL without its safety against power cuts, which no proof is about; a server cannot run as root."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        if os.geteuid() == 0:  # pytest keeps its folders to their owner, and the server runs as another user
            folder = Path(tempfile.mkdtemp(prefix="proof-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        super().__init__(folder)
        self.data = folder / "data"

    @staticmethod
    def program(name: str) -> str:
        found = shutil.which(name) or next(
            (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
        )
        assert found, f"{name} is not installed: apt install postgresql"
        return found

    def identity(self) -> dict[str, object]:
        return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}

    def command(self) -> list[str]:
        fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
        options = {**fast, "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options["log_connections"] = "on"  # see `opened`
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [self.program("postgres"), "-D", str(self.data), *settings]

    def start(self) -> None:
        if not self.data.exists():
            self.folder.chmod(0o777)
            initdb = [
                self.program("initdb"),
                "-D",
                str(self.data),
                "-U",
                "postgres",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale",
                "C",
            ]
            subprocess.run(initdb, check=True, capture_output=True, cwd=self.folder, **self.identity())
        super().start()

    def stop(self) -> None:
        self._end(signal.SIGINT)  # "fast": SIGTERM would wait for its clients

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True)

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self.connect().close()
            return True
        return False

    def opened(self, database: str) -> int:
        """How many connections to a database have been opened since it exists."""
        return len(re.findall(rf"connection authorized: .*database={database}\b", self.log.read_text(errors="replace")))

    def databases(self) -> set[str]:
        with self.connect() as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def create(self, name: str, template: str = "template1") -> str:
        """Make a database and return its address."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    @property
    def version(self) -> str:
        with self.connect() as connection:
            major, minor = divmod(connection.info.server_version, 10_000)
            return f"PostgreSQL {major}.{minor}"
