"""Drawings that stand in for pictures of products: a motif by the name, a tint by the slug."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

TINTS: Final = 8

_MOTIFS: Final[Mapping[str, str]] = {
    "mug": (
        '<path class="a" d="M52 46h44v32a14 14 0 0 1-14 14H66a14 14 0 0 1-14-14z"/>'
        '<path class="l" d="M96 54h6a10 10 0 0 1 0 22h-6"/>'
        '<path class="l" d="M64 36c-4-5 4-7 0-12M76 36c-4-5 4-7 0-12"/>'
    ),
    "bag": (
        '<path class="a" d="M50 50h60l5 44H45z"/>'
        '<path class="l" d="M66 58V44a14 14 0 0 1 28 0v14"/>'
        '<circle class="b" cx="80" cy="74" r="7"/>'
    ),
    "candle": (
        '<rect class="a" x="66" y="52" width="28" height="36" rx="4"/>'
        '<path class="b" d="M80 26c8 9 9 20 0 22-9-2-8-13 0-22z"/>'
        '<rect class="a" x="50" y="88" width="60" height="7" rx="3.5"/>'
    ),
    "heart": (
        '<path class="a" d="M80 94C54 76 46 62 51 48c5-13 22-14 29-1 7-13 24-12 29 1 5'
        ' 14-3 28-29 46z"/>'
        '<path class="l" d="M80 46V24"/><circle class="b" cx="80" cy="22" r="4"/>'
    ),
    "clock": (
        '<circle class="a" cx="80" cy="60" r="34"/><circle class="w" cx="80" cy="60" r="26"/>'
        '<path class="l" d="M80 44v16l11 8"/><circle class="b" cx="80" cy="60" r="3.5"/>'
    ),
    "cake": (
        '<ellipse class="a" cx="80" cy="66" rx="40" ry="7"/><path class="a" d="M76 68h8v20h-8z"/>'
        '<ellipse class="a" cx="80" cy="90" rx="20" ry="5"/>'
        '<path class="b" d="M58 62V50a22 14 0 0 1 44 0v12z"/>'
        '<circle class="a" cx="80" cy="33" r="5"/>'
    ),
    "card": (
        '<rect class="b" x="56" y="30" width="56" height="42" rx="4"/>'
        '<rect class="a" x="46" y="44" width="60" height="46" rx="4"/>'
        '<path class="w" d="M46 50l30 22 30-22v-2a4 4 0 0 0-4-4H50a4 4 0 0 0-4 4z"/>'
    ),
    "bunting": (
        '<path class="l" d="M24 36c36 22 76 22 112 0"/>'
        '<path class="a" d="M34 42l22 9-13 21zM92 53l23-8-7 24z"/>'
        '<path class="b" d="M63 53h24l-12 25z"/>'
    ),
    "box": (
        '<rect class="a" x="46" y="50" width="68" height="42" rx="4"/>'
        '<rect class="b" x="42" y="40" width="76" height="14" rx="4"/>'
        '<path class="l" d="M80 40v52M80 40c-22-4-20-20-9-16 6 2 9 10 9 16 0-6 3-14 9-16'
        ' 11-4 13 12-9 16"/>'
    ),
    "plant": (
        '<path class="b" d="M80 66c-24 2-32-12-30-28 18 0 30 10 30 28zm0-8c0-20 10-32'
        ' 28-34 2 18-8 32-28 34z"/>'
        '<path class="l" d="M80 76V48"/><path class="a" d="M60 72h40l-6 24H66z"/>'
    ),
    "jar": (
        '<rect class="b" x="62" y="26" width="36" height="11" rx="4"/>'
        '<path class="a" d="M60 40h40c8 8 8 14 8 22v24a9 9 0 0 1-9 9H61a9 9 0 0'
        ' 1-9-9V62c0-8 0-14 8-22z"/>'
        '<rect class="w" x="62" y="60" width="36" height="20" rx="3"/>'
    ),
    "lamp": (
        '<path class="b" d="M64 28h32l14 36H50z"/><path class="l" d="M80 64v26"/>'
        '<rect class="a" x="58" y="88" width="44" height="7" rx="3.5"/>'
    ),
}
_WORDS: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (("mug", "cup", "tea", "coffee"), "mug"),
    (("bag", "tote", "purse", "lunch"), "bag"),
    (("candle", "t-light", "tealight", "incense"), "candle"),
    (("lamp", "lantern", "light", "bulb"), "lamp"),
    (("heart", "love"), "heart"),
    (("clock", "watch", "timer"), "clock"),
    (("cake", "plate", "bowl", "dish", "tray"), "cake"),
    (("card", "paper", "notebook", "envelope", "stationery", "pen"), "card"),
    (("bunting", "garland", "banner", "party", "flag"), "bunting"),
    (("box", "tin", "gift", "set of", "drawer"), "box"),
    (("plant", "garden", "flower", "herb", "seed", "rose"), "plant"),
    (("jar", "bottle", "jam", "glass", "vase", "pantry"), "jar"),
)


def drawing(slug: str, name: str) -> str:
    """Return a product's drawing; it says nothing that the name beside it does not."""
    number = zlib.crc32(slug.encode())
    lowered = name.lower()
    motif = next(
        (motif for words, motif in _WORDS if any(word in lowered for word in words)),
        sorted(_MOTIFS)[number % len(_MOTIFS)],
    )
    return (
        f'<svg class="art tint-{number // 16 % TINTS}" viewBox="0 0 160 120" aria-hidden="true"'
        f' focusable="false"><circle class="h" cx="80" cy="60" r="52"/>{_MOTIFS[motif]}</svg>'
    )
