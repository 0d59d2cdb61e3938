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
 *   TAKE_BACK  whoever set the key and could not send removes it
 *   SWEEP      the sweeper rings, whatever the key says, for whoever has waited too long
 *
 * SAGAS, BATCH (most sagas of a claim), REFUSED (messages that the broker does not take), LOSS
 * (messages that it loses), COPY (messages that come twice).
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

byte ready, done, messages, busy, refused = REFUSED, loss = LOSS, copy = COPY;
bit  key, swept;

/* SET NX, and then the message */
inline ring() {
    atomic { mine = !key; key = 1 };
    if
    :: mine ->
        atomic {
            if
            :: messages++
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

proctype Start() {
    bit mine;
#ifndef AFTER
    ring();
#endif
    atomic { ready++; swept = 0 };
#ifdef AFTER
    ring();
#endif
    busy--
}

proctype Task() {
    bit mine;
    byte had;
again:
end_task:
    atomic { messages > 0 -> if :: messages-- :: copy > 0 -> copy-- fi; busy++ };
#ifdef FIRST
    key = 0;
#endif
    atomic {
        had = (ready > BATCH -> BATCH : ready);
        ready = ready - had; done = done + had
    };
#ifndef FIRST
    key = 0;
#endif
#ifdef FULL
    if
    :: had == BATCH && ready > 0 -> ring()
    :: else
    fi;
#endif
    atomic { had = 0; mine = 0; busy--; goto again }
}

proctype World() {
end_world:
    do
    :: atomic { loss > 0 && messages > 0 -> loss--; messages-- }
#ifdef SWEEP
    :: atomic { ready > 0 && messages == 0 && busy == 0 && !swept -> swept = 1; messages++ }
    :: atomic { swept && messages == 0 && busy == 0 && ready > 0 -> swept = 0 }
#endif
    od
}

active proctype Judge() {
    atomic { timeout;
        assert(ready == 0);                         /* BREAK a saga waits and nobody is under way */
        assert(done == SAGAS);
        assert(!key || loss < LOSS)                     /* BREAK the key silences for nothing */
    }
}

init {
    byte n;
    atomic {
        busy = SAGAS;
        do :: n < SAGAS -> run Start(); n++ :: else -> break od;
        run Task(); run Task(); run World()
    }
}
