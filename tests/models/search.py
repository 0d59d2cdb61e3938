"""Search every variant of the models with spin and compare what it finds with what is expected.

    python3 -m tests.models.search              all variants
    python3 -m tests.models.search --write      and put the results into docs/models/README.md
    python3 -m tests.models.search wait.pml     those of one model

Needs spin and a C compiler (`apt-get install spin gcc`).
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[2] / "docs" / "models"
README = MODELS / "README.md"
BEGIN, END = "<!-- results of {} -->", "<!-- end of results -->"
GUARDS = {
    "child.pml": "LOCK AFTER FIND FENCE SAME WAKE ORDER AGAIN CALL UNDO B_CLEAR",
    "group.pml": (
        "B_STATE B_GROUP I_SAGA I_TOKEN C_SAGA C_STATE C_TOKEN COUNT READ_AFTER BARRIER R_TOKEN"
        " TAKE TOMBSTONE VISIT UNDO_IF U_FENCE P_TOKEN"
    ),
    "link.pml": (
        "C_STATUS C_CURSOR C_LEASE C_DELAY C_PARKED M_STATUS M_CURSOR M_TOKEN BARRIER F_STATUS"
        " F_TOKEN B_PAST B_STATUS B_TOKEN TOMBSTONE UNDO_IF RELEASE LIMIT RENEW G_TOKEN G_COUNT"
        " K_AFTER K_SWEPT SWEEP"
    ),
    "lock.pml": "SHARE AGAIN KEEP EXCLUDE WAKES OWN LOOK STILL",
    "wait.pml": (
        "L_WAIT L_SIGNAL READ_AFTER KEEP UNIQUE CONSUME FENCE ONCE WAKE B_CLEAR R_CLEAR C_DELAY"
    ),
    "wake.pml": "AFTER FIRST FULL HELD REST ANYWAY LETS_GO TAKE_BACK SWEEP",
}
FAULTS = "CRASH=1 FREEZE=1 LOSS=1 COPY=1 CANCEL=1 SLICE=1"
TIRED = "CRASH=1 FREEZE=1 LOSS=0 COPY=1 CANCEL=0 SLICE=0 FAULT=1"
NO = "CRASH=1 FREEZE=1 LOSS=1 COPY=1 CANCEL=0 SLICE=0 REJECT=1"
PEOPLE = "CRASH=0 FREEZE=1 LOSS=0 COPY=1 CANCEL=1 SLICE=0 PARK=1 RESUME=1"
ALONG = "CRASH=1 FREEZE=1 LOSS=0 COPY=1 CANCEL=0 SLICE=0 BATCH=2 FAULT=1"
REDIS = "CRASH=1 FREEZE=0 LOSS=1 COPY=1 CANCEL=1 SLICE=0 FALSE_KEY=1"
APART = "CRASH=1 FREEZE=1 LOSS=1 COPY=0 CANCEL=1 SLICE=0 DETACHED HIT_GOES_ON"
SLEEP = "PARK=1 TWICE=1"
FANNED = "NO=1 PARK=1"
CALM = "CRASH=0 FREEZE=0 LOSS=0 COPY=0 CANCEL=0 SLICE=1"


@dataclass(frozen=True)
class Variant:
    """One search: a model, the guards that are left out, and how often what may happen."""

    model: str
    what: str
    budget: str
    without: str = ""
    breaks: bool = True

    @property
    def flags(self) -> list[str]:
        """The macros of the variant."""
        left_out = set(self.without.split())
        names = [*GUARDS[self.model].split(), *self.budget.split()]
        return [f"-D{name}" for name in names if name not in left_out]


def link(what: str, budget: str, without: str = "", *, safe: bool = False) -> Variant:
    """Return a variant of link.pml; one without a guard breaks unless it says otherwise."""
    return Variant("link.pml", what, budget, without, bool(without) and not safe)


def wait(what: str, budget: str = "", without: str = "", *, safe: bool = False) -> Variant:
    """Return a variant of wait.pml."""
    return Variant("wait.pml", what, budget, without, bool(without) and not safe)


def wake(what: str, budget: str = "", without: str = "", *, safe: bool = False) -> Variant:
    """Return a variant of wake.pml."""
    return Variant("wake.pml", what, budget, without, bool(without) and not safe)


def group(what: str, budget: str = FANNED, without: str = "", *, safe: bool = False) -> Variant:
    """Return a variant of group.pml."""
    return Variant("group.pml", what, budget, without, bool(without) and not safe)


def lock(what: str, budget: str = "", without: str = "") -> Variant:
    """Return a variant of lock.pml."""
    return Variant("lock.pml", what, budget, without, bool(without))


def child(what: str, budget: str = "", without: str = "", *, safe: bool = False) -> Variant:
    """Return a variant of child.pml."""
    return Variant("child.pml", what, budget, without, bool(without) and not safe)


VARIANTS = (
    link("deaths, a frozen worker, copies, losses, a cancel, a spent slice", FAULTS),
    link("faults and too many attempts", TIRED),
    link("a rejection, and who takes the saga back", NO),
    link("an operator parks and resumes", PEOPLE),
    link("claimed along with others, given back", ALONG),
    link("false keys in Redis", REDIS),
    link("context and engine in two databases", APART),
    link("nothing goes wrong, and nobody sweeps", CALM, "SWEEP", safe=True),
    link("three workers", FAULTS.replace("SLICE=1", "SLICE=0") + " WORKERS=3"),
    link("no status in the claim: forward during the compensation", FAULTS, "C_STATUS"),
    link("no cursor in the claim: a link runs steps of another", FAULTS, "C_CURSOR"),
    link("no lease in the claim: a living worker is robbed", FAULTS, "C_LEASE"),
    link("no delay in the claim: tried again before its time", TIRED, "C_DELAY"),
    link("no parking in the claim: a parked saga runs", PEOPLE, "C_PARKED"),
    link("no token in the commit: a step is recorded while parked", PEOPLE, "M_TOKEN"),
    link("no status in the commit", FAULTS, "M_STATUS", safe=True),
    link("no cursor in the commit", FAULTS, "M_CURSOR", safe=True),
    link("no fence at all in the commit", FAULTS, "M_STATUS M_CURSOR M_TOKEN"),
    link("no token in a fault: it ends another worker's lease", TIRED, "F_TOKEN"),
    link("cancel past the point of no return", FAULTS, "B_PAST"),
    link("a second cancel lets the compensation begin again", f"{CALM} CANCEL=2", "B_STATUS"),
    link("a compensation that raises no token", FAULTS, "B_TOKEN", safe=True),
    link("no token raised, and no status in the commit", FAULTS, "B_TOKEN M_STATUS M_CURSOR"),
    link("no token raised, and no status in a fault", FAULTS, "B_TOKEN F_STATUS"),
    link("undo of what never was", FAULTS, "UNDO_IF"),
    link("no barrier", FAULTS, "BARRIER", safe=True),
    link("no barrier, two databases", APART, "BARRIER"),
    link("no tombstone", FAULTS, "TOMBSTONE", safe=True),
    link("no tombstone, two databases", APART, "TOMBSTONE"),
    link("a hit on the barrier ends the link, two databases", APART, "HIT_GOES_ON"),
    link("the lease outlives its link, nobody sweeps", CALM, "RELEASE SWEEP"),
    link("the lease outlives its link, swept", FAULTS, "RELEASE", safe=True),
    link("no hard limit: a living worker is robbed", FAULTS, "LIMIT"),
    link("no renewal of a lease", FAULTS, "RENEW", safe=True),
    link("a late give-back ends another worker's lease", ALONG, "G_TOKEN"),
    link("a give-back keeps the attempt: parked too early", ALONG, "G_COUNT"),
    link("Redis told before the commit", FAULTS, "K_AFTER", safe=True),
    link("Redis told before, and asked by the sweeper", FAULTS, "K_AFTER K_SWEPT"),
    link("the sweeper asks Redis, a key is false", REDIS, "K_SWEPT"),
    link("nobody sweeps", FAULTS, "SWEEP"),
    wait("signals early, late, twice and never; the end of a wait compensates", SLEEP),
    wait("the end of a wait goes on", "GO_ON TIME=2"),
    wait("who waits looks without the lock", SLEEP, "L_WAIT"),
    wait("who signals writes without the lock", SLEEP, "L_SIGNAL"),
    wait("the signals are read before the row is locked", SLEEP, "READ_AFTER"),
    wait("an early signal is dropped", SLEEP, "KEEP"),
    wait("a signal that comes twice stands twice", SLEEP, "UNIQUE"),
    wait("consumed before the cursor moves, then killed", SLEEP, "CONSUME"),
    wait("a frozen worker goes on in a saga that was canceled", SLEEP, "FENCE"),
    wait("the end of the wait is reckoned anew at each arrival", SLEEP, "ONCE"),
    wait("a signal does not wake", SLEEP, "WAKE"),
    wait("canceled in its sleep, and sleeps on", SLEEP, "B_CLEAR"),
    wait("resumed in its sleep, with a signal that came while it was parked", SLEEP, "R_CLEAR"),
    wait("claimed while it sleeps", SLEEP, "C_DELAY"),
    wake("one message for many, refused, lost and doubled", "REFUSED=1 LOSS=1"),
    wake("two sagas a claim", "REFUSED=1 BATCH=2"),
    wake("two a claim, one tried before, one held", "COPY=0 BATCH=2 TRIED=1 HOLD=1"),
    wake("two a claim, one broken off, one that dies", "COPY=0 BATCH=2 BROKEN=1 DIES=1"),
    wake(
        "nothing is lost, and nobody sweeps", "COPY=0 BATCH=2 HOLD=1 BROKEN=1", "SWEEP", safe=True
    ),
    wake("a message is lost, and nobody sweeps", "LOSS=1", "SWEEP"),
    wake("rung before the commit, nobody sweeps", "", "AFTER SWEEP"),
    wake("the key removed after the look, nobody sweeps", "COPY=0", "FIRST SWEEP", safe=True),
    wake("no ring before a full batch, nobody sweeps", "COPY=0", "FULL SWEEP", safe=True),
    wake("a saga in another hand takes nobody along", "COPY=0", "HELD SWEEP", safe=True),
    wake("the key removed after the only look", "", "REST FIRST SWEEP"),
    wake("no look at the end: a saga tried before", "BATCH=2 TRIED=1", "REST SWEEP", safe=True),
    wake("no look at the end: a row that was held", "BATCH=2 HOLD=1", "REST SWEEP", safe=True),
    wake("no look at the end, nor rings for the rest", "", "REST FULL SWEEP"),
    wake("no look at the end: whose saga is in another hand", "", "REST HELD SWEEP"),
    wake("no look of who is broken off, nobody sweeps", "COPY=0 BROKEN=1", "ANYWAY SWEEP"),
    wake("broken off, and dies before its look, nobody sweeps", "COPY=0 BROKEN=1 DIES=1", "SWEEP"),
    wake("no ring of who lets a row go, nobody sweeps", "BATCH=2 HOLD=1", "LETS_GO SWEEP"),
    wake("no ring of who lets a row go", "COPY=0 BATCH=2 HOLD=1", "LETS_GO", safe=True),
    wake("the key of a refused message stays", "REFUSED=1", "TAKE_BACK"),
    group("deaths, a frozen worker, a no, a cancel, an operator who parks"),
    group("two deaths, two frozen workers", "CRASH=2 FREEZE=2 NO=1"),
    group("a done branch is claimed again", without="B_STATE", safe=True),
    group("a branch begins in a saga that compensates", without="B_GROUP"),
    group("an intent in a saga that compensates", without="I_SAGA", safe=True),
    group("an intent of who has lost the branch", without="I_TOKEN"),
    group("a commit in a saga that compensates", without="C_SAGA"),
    group("a commit of a branch that is done", without="C_STATE", safe=True),
    group("a commit of who has lost the branch", without="C_TOKEN"),
    group("counted down in a transaction of its own", without="COUNT"),
    group("the replies are read before the row is locked", without="READ_AFTER"),
    group("no barrier", without="BARRIER", safe=True),
    group("a no of who has lost the branch", without="R_TOKEN", safe=True),
    group("a branch is not taken before it is undone", without="TAKE", safe=True),
    group("no tombstone", without="TOMBSTONE", safe=True),
    group("claimed again, done again", without="B_STATE C_STATE BARRIER"),
    group("an intent after its compensation", without="I_SAGA BARRIER TAKE"),
    group("a commit after its compensation", without="C_SAGA BARRIER TAKE"),
    group("what was only intended is not undone", without="VISIT"),
    group("undo of what never was", without="UNDO_IF"),
    group("no fence in the compensation", without="U_FENCE"),
    group("a parking that leaves the branches their tokens", without="P_TOKEN"),
    lock("three sagas, one started twice, deaths, a cancel, a false ring"),
    lock("two deaths, two cancels, two rings", "CRASH=2 CANCEL=2 RING=2 TWICE=0"),
    lock("who meets it does not share it", without="SHARE"),
    lock("who meets it does not ask again when it is gone", without="AGAIN"),
    lock("a second start gives the lock of the first away", without="KEEP"),
    lock("who ends looks before it has the lock's row", without="EXCLUDE"),
    lock("a canceled waiter is handed the lock", without="WAKES"),
    lock("handed on after the commit that ends it", without="OWN"),
    lock("a false ring lets a waiter go on without it", without="LOOK"),
    lock("a canceled waiter that was looking goes on", without="STILL"),
    child("a child that ends well, or not; deaths, a cancel, a false ring"),
    child("two deaths, two frozen workers, two rings", "CRASH=2 FREEZE=2 RING=2"),
    child("the parent looks without its row", without="LOCK"),
    child("the parent looks before it has its row", without="AFTER"),
    child("a child is started at each arrival", without="FIND"),
    child("a frozen worker goes on in a saga that was canceled", without="FENCE"),
    child("the parent is told after the commit", without="SAME"),
    child("a child's end does not wake", without="WAKE"),
    child("called back with the parent's row in hand", without="ORDER"),
    child("called back, and not looked at again", without="AGAIN"),
    child("a child is not called back", without="CALL", safe=True),
    child("a completed child is not undone", without="UNDO"),
    child("canceled in its sleep, and sleeps on", without="B_CLEAR"),
)


@dataclass(frozen=True)
class Result:
    """What a search has found."""

    breaks: bool
    states: int
    seconds: float
    says: str = ""


def is_there() -> bool:
    """Return whether what a search needs is installed."""
    return bool(shutil.which("spin") and shutil.which("cc"))


def search(variant: Variant) -> Result:
    """Search all states of a variant, up to the first violation."""
    with tempfile.TemporaryDirectory() as directory:

        def run(*command: str) -> str:
            done = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, check=False
            )
            return done.stdout + done.stderr

        run("spin", "-a", *variant.flags, str(MODELS / variant.model))
        run("cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c")
        said = run("./pan", "-m1000000")
    seconds = re.search(r"elapsed time ([\d.]+) seconds", said)
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d+) states, stored", said)
    if errors is None or states is None or "too small" in said or "out of memory" in said:
        raise RuntimeError(f"{variant.what}: {said[-2000:]}")
    says = re.search(r"pan:1: (.*?) \(at depth", said)
    return Result(
        breaks=errors[1] != "0",
        states=int(states[1]),
        seconds=float(seconds[1]) if seconds else 0.0,
        says=says[1] if says else "",
    )


def write(results: Sequence[tuple[Variant, Result]]) -> None:
    """Put the tables of the models that were searched into the README."""
    text = README.read_text()
    for model in {variant.model: None for variant, _ in results}:
        before, _, rest = text.partition(BEGIN.format(model))
        after = rest.partition(END)[2]
        lines = ["| variant | left out | verdict | states | seconds |", "|---|---|---|--:|--:|"]
        lines += [
            f"| {variant.what} | {variant.without and f'`{variant.without}`'}"
            f" | {'BREAKS' if result.breaks else 'safe'} | {result.states:,}"
            f" | {result.seconds:.1f} |"
            for variant, result in results
            if variant.model == model
        ]
        body = "\n".join(lines)
        text = f"{before}{BEGIN.format(model)}\n{body}\n{END}{after}"
    README.write_text(text)


def main(arguments: Sequence[str]) -> int:
    """Search the variants; 1 if one ended otherwise than expected, 2 if spin is missing."""
    if not is_there():
        print("spin or cc is missing: apt-get install spin gcc", file=sys.stderr)
        return 2
    named = {argument for argument in arguments if argument != "--write"}
    wanted = [variant for variant in VARIANTS if not named or variant.model in named]
    results = []
    with ThreadPoolExecutor(2) as pool:
        for variant, result in zip(wanted, pool.map(search, wanted), strict=True):
            results.append((variant, result))
            wrong = "" if result.breaks is variant.breaks else "   NOT AS EXPECTED"
            verdict = "BREAKS" if result.breaks else "safe"
            print(
                f"{verdict:7}{result.states:>10,}{result.seconds:>7.1f} s  {variant.what}"
                f"{f' [without {variant.without}]' if variant.without else ''}{wrong}"
                f"{f'  {result.says}' if wrong else ''}",
                flush=True,
            )
    if "--write" in arguments:
        write(results)
    return int(any(result.breaks is not variant.breaks for variant, result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
