"""A network that swallows what is sent: no answer comes, and no end of the connection either."""

import contextlib
import ctypes
import os
import socket
import struct
import threading

import psycopg
import pytest
from django.db import connection

from config.database import database_settings
from tests.processes import eventually

SO_ATTACH_FILTER = 26
# A filter of one instruction, which lets nothing through: not even the receipt is sent.
NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)


class Cable:
    """Between a client and the server's socket."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        self._run(self._connect)

    def _connect(self):
        near, _ = self.listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(self.server)
        self.ends = [near, far]
        self._run(self._carry, near, far)
        self._run(self._carry, far, near)

    def _carry(self, source, target):
        with contextlib.suppress(OSError):  # closed at the end of the test
            while data := source.recv(65536):
                target.sendall(data)

    def _run(self, act, *told):
        threading.Thread(target=act, args=told, daemon=True).start()

    def swallow(self):
        program = ctypes.create_string_buffer(NOTHING)
        told = struct.pack("HL", 1, ctypes.addressof(program))
        self.ends[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, told)

    def close(self):
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.listener.close()


def sessions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]


@pytest.fixture
def cable(committed_db):
    own = connection.settings_dict
    if not own["HOST"].startswith("/"):
        pytest.skip("the server has no socket here")
    before = sessions()
    cable = Cable(os.path.join(own["HOST"], f".s.PGSQL.{own['PORT'] or 5432}"))  # noqa: PTH118
    yield cable
    cable.close()
    eventually(lambda: sessions() <= before)


def test_a_session_that_waits_for_an_answer_is_told_that_its_server_is_out_of_reach(cable):
    own = connection.settings_dict
    url = f"postgresql://{own['USER']}@127.0.0.1:{cable.port}/{own['NAME']}?sslmode=disable"
    options = database_settings("X", url, max_age=0)["OPTIONS"]
    patience = int(options["tcp_user_timeout"])
    assert patience <= 30_000

    with psycopg.connect(
        url, connect_timeout=3, tcp_user_timeout=patience // 20, autocommit=True
    ) as session:
        session.execute("SELECT 1")
        cable.swallow()
        with pytest.raises(psycopg.OperationalError, match="timed out"):
            session.execute("SELECT 1")
