"""How each fault is done."""

from collections.abc import Mapping
from typing import Final

from config.chaos.injections.broker import empty, fill_up, kill_broker, pause
from config.chaos.injections.customers import cancel_in_the_middle, one_key_at_once
from config.chaos.injections.database import end_sessions, hold_rows, restart_database
from config.chaos.injections.messages import deliver_again, unreadable
from config.chaos.injections.processes import (
    freeze,
    kill_all,
    kill_at_a_place,
    kill_child,
    kill_web,
    restart_in_turn,
    trouble_beat,
)
from config.chaos.injections.provider import trouble_provider
from config.chaos.stage import Inject

INJECT: Final[Mapping[str, Inject]] = {
    **dict.fromkeys(
        ("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F18"),
        kill_at_a_place,
    ),
    "F12": kill_web,
    "F13": kill_child,
    "F2all": kill_all,
    "F15": restart_in_turn,
    "F16": freeze,
    "F17": trouble_beat,
    "F19": kill_broker,
    "F20": kill_broker,
    "F21": empty,
    "F23": fill_up,
    "F24": pause,
    "F28": restart_database,
    "F31": end_sessions,
    "F36": hold_rows,
    "F39": deliver_again,
    "F40": unreadable,
    "F43": trouble_provider,
    "F44": trouble_provider,
    "F49": one_key_at_once,
    "F50": cancel_in_the_middle,
}
