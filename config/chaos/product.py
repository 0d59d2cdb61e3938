"""Which processes the run starts, with what in their environment."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import urllib3
from django.conf import settings

from config import processes
from config.chaos.armory import Armory
from config.chaos.servers import Servers, wait_for
from config.chaos.world import Managed, World
from config.database import with_name

HOST: Final = "127.0.0.1"
WORKER_READY: Final = "ready."
BEAT_READY: Final = "is starting."
START_WITHIN: Final = 90.0


class NotStarted(Exception):
    """A process of the product did not start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many of each."""

    web: int = 2
    workers: int = 3


@dataclass(kw_only=True)
class Product:
    """The processes, and where they are reached."""

    world: World
    workers: Armory
    web: Armory
    sites: list[str]
    provider: str

    def start(self) -> None:
        """Start everything and wait until all of it is ready.

        :raises NotStarted: if some of it does not get ready
        """
        self.world.begin()
        for each in self.world.managed:
            if each.wanted and not wait_for(partial(self.is_ready, each), START_WITHIN):
                raise NotStarted(f"{each.name} did not start:\n{each.written()[-2000:]}")

    def is_ready(self, each: Managed) -> bool:
        """Return whether a process of ours does its work."""
        if not each.alive:
            return False
        if each.kind == "worker":
            return WORKER_READY in each.written()
        if each.kind == "beat":
            return BEAT_READY in each.written()
        if each.kind == "provider":
            return answers(f"{self.provider}/healthz")
        return answers(f"{each.environment['SITE']}/readyz")


def assemble(servers: Servers, folder: Path, sizes: Sizes) -> Product:
    """Put the processes together; nothing is started yet."""
    sites = [f"http://{HOST}:{port}" for port in free_ports(sizes.web)]
    workers, web = Armory(folder / "failpoints"), Armory(folder / "failpoints-web")
    provider = processes.simulator_environment(
        database_url=settings.DATABASE_URL,
        site=sites[0],
        key=settings.PAYMENT_PROVIDER_KEY,
        secrets=settings.WEBHOOK_SECRETS,
    )
    provider["SIMULATOR_DATABASE_URL"] = with_name(servers.provider.database_url, "simulator")
    roll = Roll(folder)
    port = urlsplit(settings.PAYMENT_PROVIDER_URL).port
    roll.add("provider", "provider", {"PROVIDER_PORT": str(port)}, provider)
    for number in range(1, sizes.workers + 1):
        name = f"worker{number}"
        roll.add("worker", name, {}, workers.environment, "-n", f"{name}@%h")
    for number, site in enumerate(sites, 1):
        where = {"HOST": HOST, "PORT": site.rpartition(":")[2]}
        roll.add("web", f"web{number}", where, web.environment | {"SITE": site})
    for name in ("beat1", "beat2"):
        roll.add("beat", name, {"BEAT_SCHEDULE_FILE": str(folder / name)}, {})
    roll.managed[-1].wanted = False  # there only while a fault wants two
    return Product(
        world=World(servers, roll.managed),
        workers=workers,
        web=web,
        sites=sites,
        provider=settings.PAYMENT_PROVIDER_URL,
    )


class Roll:
    """The processes that are to run, each as the product's own list describes its kind."""

    def __init__(self, folder: Path) -> None:
        """Begin with none; their logs go into the folder."""
        self.managed: list[Managed] = []
        self._folder = folder
        listed = processes.processes(settings.STEP_QUEUES, settings.CONTEXTS)
        self._described = {process.name: process for process in listed}
        self._common = {
            "PAYMENT_PROVIDER_URL": settings.PAYMENT_PROVIDER_URL,
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "INFO",
            "PYTHONWARNINGS": "default",
            "PGAPPNAME": "concord",
        }

    def add(
        self,
        kind: str,
        name: str,
        variables: Mapping[str, str],
        environment: Mapping[str, str],
        *more: str,
    ) -> None:
        """Add one."""
        process = self._described[kind]
        self.managed.append(
            Managed(
                name=name,
                kind=kind,
                command=[*processes.fill_in(process.command, variables), *more],
                environment={**dict(process.environment), **self._common, **environment},
                log=self._folder / f"{name}.log",
            )
        )


def answers(url: str) -> bool:
    """Return whether something says 200 there."""
    headers = {"Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}"}
    try:
        answer = urllib3.request("GET", url, headers=headers, timeout=2.0, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def revision() -> str:
    """Return the commit of the checkout, as far as it can be read without git."""
    git = Path(__file__).resolve().parents[2] / ".git"
    if git.is_file():
        git = Path(git.read_text().partition(": ")[2].strip())
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if _is_worktree(git) else git
        return (common / name).read_text().strip()[:12] if name != head else head[:12]
    except OSError:
        return "unknown"


def _is_worktree(git: Path) -> bool:
    return (git / "commondir").exists()
