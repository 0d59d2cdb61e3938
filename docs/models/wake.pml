/*
 * One unread message for all sagas that wait in front of the same link: several transactions make a
 * saga ready each and then ring, several tasks take a message up and claim what they find.
 *
 * The question is whether a saga can be left behind with nobody under way to it, as long as nothing
 * is lost; and that the sweeper finds it when something is (sagas/orchestration/wakes.py, batch.py).
 *
 *   AFTER      who makes a saga ready rings after its commit, not before
 *   FIRST      who takes a message up removes the key before it looks for sagas, not after
 *   FULL       whoever claims as many as it may, or nobody beside its own, rings before it begins
 *   HELD       a message whose saga another task has taken along carries the others all the same
 *   REST       whoever has done what a message could looks once more, and rings for one that is left
 *   ANYWAY     so does a task that is broken off
 *   LETS_GO    whoever holds a row, which claims and looks pass by, rings when it lets go
 *   TAKE_BACK  whoever set the key and could not send removes it
 *   SWEEP      the sweeper rings, whatever the key says, for whoever has waited too long
 *
 * SAGAS, BATCH (most sagas of a claim), REFUSED (messages that the broker does not take), LOSS
 * (messages that it loses), COPY (messages that come twice), TRIED (sagas that are tried before
 * their message comes, and taken along by nobody), HOLD (rows that somebody holds for a while and
 * changes nothing of), BROKEN (messages that are broken off before they have claimed anything), DIES
 * (tasks that die between their work and the last look).
 */
#ifndef SAGAS
#define SAGAS 3
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef REFUSED
#define REFUSED 0
#endif
#ifndef LOSS
#define LOSS 0
#endif
#ifndef COPY
#define COPY 1
#endif
#ifndef TRIED
#define TRIED 0
#endif
#ifndef HOLD
#define HOLD 0
#endif
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef DIES
#define DIES 0
#endif

mtype = { none, fresh, old, held, done };
mtype at[SAGAS] = none;
chan messages = [SAGAS + 4] of { byte, bit };       /* whose it is, and whether it is for that one alone */
byte busy, refused = REFUSED, loss = LOSS, copy = COPY, tried = TRIED, hold = HOLD, ended;
byte broken = BROKEN, dies = DIES, grip = SAGAS;    /* whose row is held */
bit  key, swept;

/* SET NX, and then the message */
inline ring(whom) {
    atomic { mine = !key; key = 1 };
    if
    :: mine ->
        atomic {
            if
            :: messages ! whom, 0
            :: refused > 0 -> refused--;
#ifdef TAKE_BACK
                key = 0
#endif
            fi;
            mine = 0
        }
    :: else
    fi
}

/* One of those that wait and whom nobody holds, if there is one */
inline look_for_one() {
    n = 0;
    do
    :: n < SAGAS && (at[n] != fresh || grip == n) -> n++
    :: else -> break
    od
}

proctype Start(byte me) {
    bit mine;
#ifndef AFTER
    ring(me);
#endif
    atomic { at[me] = fresh; swept = 0 };
#ifdef AFTER
    ring(me);
#endif
    busy--
}

proctype Task() {
    bit mine, lone, only, off;
    byte own, n, had;
    bit hand[SAGAS];
again:
end_task:
    atomic {
        messages ? own, only ->
        if
        :: skip
        :: copy > 0 -> copy--; messages ! own, only
        fi;
        busy++
    };
#ifdef FIRST
    key = (only -> key : 0);
#endif
    atomic {
        if
        :: grip != own                              /* whoever holds the row of its own is waited for */
        :: broken > 0 && !only -> broken--; off = 1     /* or in vain, say */
        fi;
        if
        :: off
        :: !off && at[own] == old -> at[own] = held; hand[own] = 1; had = 1; lone = 1
        :: !off && only && at[own] != old -> lone = 1
#ifndef HELD
        :: !off && !only && at[own] == held -> lone = 1
#endif
        :: else ->
            if
            :: at[own] == fresh -> at[own] = held; hand[own] = 1; had = 1
            :: else
            fi;
            n = 0;
            do
            :: n < SAGAS && had < BATCH && at[n] == fresh && grip != n -> at[n] = held; hand[n] = 1; had++; n++
            :: n < SAGAS && !(had < BATCH && at[n] == fresh && grip != n) -> n++
            :: n == SAGAS -> break
            od
        fi;
        n = 0
    };
#ifndef FIRST
    key = (only -> key : 0);
#endif
#ifdef FULL
    if
    :: !only && had && (had == BATCH || lone) ->
        atomic { look_for_one() };
        if
        :: n < SAGAS -> ring(n)
        :: else
        fi
    :: else
    fi;
#endif
    atomic {
        n = 0;
        do
        :: n < SAGAS && hand[n] -> at[n] = done; ended++; hand[n] = 0; n++
        :: n < SAGAS && !hand[n] -> n++
        :: n == SAGAS -> break
        od;
        n = 0;
        if
        :: dies > 0 -> dies--; only = 1
        :: skip
        fi;
#ifndef ANYWAY
        only = (off -> 1 : only);
#endif
        off = 0; had = 0; lone = 0; own = 0
    };
#ifdef REST
    if
    :: !only ->
        atomic { look_for_one() };
        if
        :: n < SAGAS -> ring(n)
        :: else
        fi
    :: else
    fi;
#endif
    atomic { n = 0; mine = 0; only = 0; busy--; goto again }
}

/* Somebody who changes nothing of a row that it holds: a signal that is early, an act that is refused */
proctype Holder() {
    bit mine;
end_holder:
    do
    :: atomic { hold > 0 && at[1] == fresh -> hold--; grip = 1; busy++ };
        grip = SAGAS;
#ifdef LETS_GO
        ring(1);
#endif
        busy--
    od
}

/* Whoever is tried before its message comes has one of its own, whatever the key says. */
proctype World() {
    byte n;
end_world:
    do
    :: atomic { loss > 0 && nempty(messages) -> messages ? n, _; loss--; n = 0 }
    :: atomic { tried > 0 && nempty(messages) && at[0] == fresh && grip != 0 -> tried--; at[0] = old; messages ! 0, 1 }
#ifdef SWEEP
    :: atomic {
        ended < SAGAS && empty(messages) && busy == 0 && !swept ->
        swept = 1; look_for_one();
        if
        :: n < SAGAS -> messages ! n, 0
        :: n == SAGAS && at[0] == old -> messages ! 0, 1
        :: else
        fi;
        n = 0
    }
    :: atomic { swept && empty(messages) && busy == 0 && ended < SAGAS -> swept = 0 }
#endif
    od
}

active proctype Judge() {
    atomic { timeout;
        assert(ended == SAGAS);                     /* BREAK a saga waits and nobody is under way */
        assert(!key || loss < LOSS)                     /* BREAK the key silences for nothing */
    }
}

init {
    byte n;
    atomic {
        busy = SAGAS;
        do :: n < SAGAS -> run Start(n); n++ :: else -> break od;
        run Task(); run Task(); run World();
        if
        :: hold > 0 -> run Holder()
        :: else
        fi
    }
}
