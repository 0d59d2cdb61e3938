/*
 * One unread message for all sagas that wait in front of the same link: several transactions make a
 * saga ready each and then ring, several tasks take a message up and claim what they find.
 *
 * The question is whether a saga can be left behind with nobody under way to it, as long as nothing
 * is lost; and that the sweeper finds it when something is (sagas/orchestration/wakes.py, batch.py).
 *
 *   AFTER      who makes a saga ready rings after its commit, not before
 *   FIRST      who takes a message up removes the key before it looks for sagas, not after
 *   FULL       whoever claims as many as it may rings for the rest
 *   HELD       a message whose saga another task has taken along carries the others all the same
 *   REST       whoever has done what a message could looks once more, and rings for one that is left
 *   TAKE_BACK  whoever set the key and could not send removes it
 *   SWEEP      the sweeper rings, whatever the key says, for whoever has waited too long
 *
 * SAGAS, BATCH (most sagas of a claim), REFUSED (messages that the broker does not take), LOSS
 * (messages that it loses), COPY (messages that come twice), TRIED (sagas that are tried before
 * their message comes, and taken along by nobody), HOLD (rows that somebody holds at the moment of a
 * claim, which passes them by).
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

mtype = { none, fresh, old, held, done };
mtype at[SAGAS] = none;
chan messages = [SAGAS + 4] of { byte, bit };       /* whose it is, and whether it is for that one alone */
byte busy, refused = REFUSED, loss = LOSS, copy = COPY, tried = TRIED, hold = HOLD, ended;
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

/* One of those that wait, if any does */
inline look_for_one() {
    n = 0;
    do
    :: n < SAGAS && at[n] != fresh -> n++
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
    bit mine, lone, only;
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
        :: at[own] == old -> at[own] = held; hand[own] = 1; had = 1; lone = 1
        :: only && at[own] != old -> lone = 1
#ifndef HELD
        :: !only && at[own] == held -> lone = 1
#endif
        :: else ->
            if
            :: at[own] == fresh -> at[own] = held; hand[own] = 1; had = 1
            :: else
            fi;
            n = 0;
            do
            :: n < SAGAS && had < BATCH && at[n] == fresh -> at[n] = held; hand[n] = 1; had++; n++
            :: n < SAGAS && had < BATCH && at[n] == fresh && hold > 0 -> hold--; n++
            :: n < SAGAS && !(had < BATCH && at[n] == fresh) -> n++
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
    :: had == BATCH && !lone ->
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
        n = 0
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
    atomic { n = 0; own = 0; had = 0; mine = 0; only = 0; lone = 0; busy--; goto again }
}

/* Whoever is tried before its message comes has one of its own, whatever the key says. */
proctype World() {
    byte n;
end_world:
    do
    :: atomic { loss > 0 && nempty(messages) -> messages ? n, _; loss--; n = 0 }
    :: atomic { tried > 0 && nempty(messages) && at[0] == fresh -> tried--; at[0] = old; messages ! 0, 1 }
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
        run Task(); run Task(); run World()
    }
}
