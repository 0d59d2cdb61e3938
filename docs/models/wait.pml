/*
 * A saga that waits for two signals, one step after the other, while signals come early, late,
 * twice or never, workers die and freeze, a customer cancels, an operator parks and resumes.
 *
 *   step 0  waits for signal 0, at most so long      step 1  waits for signal 1
 *   step 2  local, the last
 *
 * Messages are not modelled: whatever is due may be claimed by anybody (every copy, every sweep).
 * What is modelled is the order of statements inside a transaction, since that is where a wake-up
 * is lost: each atomic block is a statement, `row` the lock of the saga's row, and what a statement
 * writes is seen by others at the commit, which is the last block.
 *
 *   L_WAIT      who arrives at the wait locks the saga's row ...
 *   L_SIGNAL    ... and so does who brings a signal
 *   READ_AFTER  ... and reads the signals in a statement after that, not before
 *   KEEP        a signal is kept whether or not the saga waits for it yet
 *   UNIQUE      one row for a saga, a name and a key
 *   CONSUME     the signal is consumed in the commit that moves the cursor
 *   FENCE       that commit names status, cursor and token
 *   ONCE        the end of a wait is stored when the saga first arrives, and kept
 *   WAKE        who brings a signal clears the delay of a saga that sleeps for it
 *   B_CLEAR     a cancel clears it too, and so does an operator's resume (R_CLEAR)
 *   C_DELAY     a saga that sleeps is not claimed
 *
 * GO_ON: the end of a wait goes on; else it compensates. CRASH FREEZE TIME (a wait ends) CANCEL
 * PARK TWICE (signal 0 comes again under its key).
 */
#ifndef CRASH
#define CRASH 1
#endif
#ifndef FREEZE
#define FREEZE 1
#endif
#ifndef TIME
#define TIME 1
#endif
#ifndef CANCEL
#define CANCEL 1
#endif
#ifndef PARK
#define PARK 0
#endif
#ifndef TWICE
#define TWICE 0
#endif
#define WORKERS 2

#define RUNNING      0
#define COMPENSATING 1
#define COMPLETED    2
#define COMPENSATED  3

byte status, cursor, owner;
bit  lease, delayed, parked, sleeps;
bit  until;                                         /* the end of the wait is stored and is past */
byte row;                                           /* who holds the lock of the saga's row */
byte kept[2], consumed[2];                          /* rows of signals */
bit  told[2];                                       /* true: somebody was told "kept" */
bit  over[2], alive[5];                             /* true: this wait has ended; who is at work */

byte crash = CRASH, freeze = FREEZE, time = TIME, cancel = CANCEL, park = PARK, resume = PARK;

#ifdef FENCE
#define fence (status == RUNNING && cursor == at && owner == me)
#else
#define fence (true)
#endif
#ifdef C_DELAY
#define c_delay (!delayed)
#else
#define c_delay (true)
#endif

inline rollback() { if :: row == me -> row = 0 :: else fi; alive[me] = 0; at = 0; seen = 0 }
#define OR_DIES :: crash > 0 -> crash--; rollback(); goto idle
inline commit() {
    owner = 0; lease = 0; rollback()
}

proctype Worker(byte me) {
    byte at, seen;
idle:
end_idle:
    atomic {                                                            /* TX of the claim */
        if
        :: row == 0 && status == RUNNING && !parked && lease == 0 && c_delay && cursor < 2 ->
            assert(!delayed);                                   /* BREAK claimed while it sleeps */
            owner = me; lease = 1; alive[me] = 1; at = cursor
        :: row == 0 && status == RUNNING && !parked && lease == 0 && c_delay && cursor == 2 ->
            status = COMPLETED; cursor = 3; goto idle
        :: row == 0 && status == COMPENSATING && !parked && lease == 0 && c_delay ->
            status = COMPENSATED; goto idle
        fi;
        if OR_DIES :: skip fi
    };
#ifndef READ_AFTER
    atomic { seen = kept[at] > consumed[at] };
#endif
#ifdef L_WAIT
    atomic { row == 0;
        if :: fence -> row = me :: else -> rollback(); goto idle fi };
#endif
#ifdef READ_AFTER
    atomic { seen = kept[at] > consumed[at]; if OR_DIES :: skip fi };
#endif
#ifndef CONSUME
    atomic { if :: seen -> consumed[at]++ :: else fi; if OR_DIES :: skip fi };
#endif
    atomic {                                            /* the last statement, and the commit */
        row == 0 || row == me;
        if :: !fence -> rollback(); goto idle :: else fi;
        assert(status == RUNNING);                                /* BREAK a cancel is overwritten */
#ifndef ONCE
        until = 0;                                      /* its end is reckoned from now, again */
#endif
        if
        :: seen ->
#ifdef CONSUME
            consumed[at]++;
            assert(consumed[at] <= kept[at]);             /* BREAK a signal was consumed twice */
#endif
            cursor = at + 1; sleeps = 0; delayed = 0; until = 0
        :: !seen && until ->                                            /* the wait has ended */
            assert(over[at]);
#ifdef GO_ON
            cursor = at + 1; sleeps = 0; delayed = 0; until = 0
#else
            status = COMPENSATING; sleeps = 0; delayed = 0
#endif
        :: else ->
            sleeps = 1; delayed = 1
        fi;
        commit(); goto idle
    }
}

/* brings one signal, perhaps twice under the same key */
proctype Signals(byte me; byte name; byte times) {
    bit wakes;
    do
    :: times = 0                                                        /* or it never comes */
    :: times > 0 ->
#ifdef L_SIGNAL
        atomic { row == 0 -> row = me };
#endif
        atomic { wakes = (status == RUNNING && sleeps && cursor == name && !parked) };
        atomic {
            row == 0 || row == me;
            times--;
            if
            :: status != RUNNING -> skip                                       /* too late */
#ifdef UNIQUE
            :: status == RUNNING && kept[name] > 0 -> skip                     /* a duplicate */
            :: status == RUNNING && kept[name] == 0 ->
#else
            :: status == RUNNING ->
#endif
                told[name] = 1;
#ifdef KEEP
                kept[name]++;
#else
                if :: wakes -> kept[name]++ :: else fi;
#endif
                assert(kept[name] <= 1);                     /* BREAK one signal stands twice */
                if
                :: wakes ->
#ifdef WAKE
                    delayed = 0
#else
                    skip
#endif
                :: else
                fi
            fi;
            if :: row == me -> row = 0 :: else fi; wakes = 0
        }
    :: times == 0 -> break
    od
}

proctype World() {
end_world:
    do
    :: atomic { lease == 1 && owner != 0 && !alive[owner] -> lease = 0; owner = 0 }
    :: atomic { lease == 1 && owner != 0 && alive[owner] && freeze > 0 && row != owner ->
                freeze--; lease = 0; owner = 0 }
    :: atomic { time > 0 && sleeps && row == 0 && cursor < 2 && !over[cursor] ->
                time--; over[cursor] = 1; until = 1; delayed = 0 }
    :: atomic { cancel > 0 && status == RUNNING && row == 0 ->
                cancel--; status = COMPENSATING; owner = 0; lease = 0; parked = 0; sleeps = 0;
#ifdef B_CLEAR
                delayed = 0
#endif
              }
    :: atomic { park > 0 && status < COMPLETED && !parked && row == 0 ->
                park--; parked = 1; owner = 0; lease = 0 }
    :: atomic { resume > 0 && parked && row == 0 -> resume--; parked = 0;
#ifdef R_CLEAR
                delayed = 0
#endif
              }
    /* or it never comes */
    :: atomic { cancel > 0 -> cancel-- }
    :: atomic { time > 0 -> time-- }
    :: atomic { park > 0 -> park-- }
    od
}

active proctype Judge() {
    atomic { timeout;
        if
        :: status == RUNNING && !parked ->
            assert(cursor < 2 && sleeps && delayed);                              /* BREAK stuck */
            assert(consumed[cursor] == 0);         /* BREAK its signal was consumed for nothing */
            /* BREAK it sleeps although its signal has come */
            assert(kept[cursor] == consumed[cursor]);
            assert(!over[cursor])                        /* BREAK it sleeps past the end of its wait */
        :: status == COMPENSATING && !parked -> assert(false)                     /* BREAK stuck */
        :: status == COMPLETED ->
            assert(consumed[0] == 1 || over[0]); assert(consumed[1] == 1 || over[1])
        :: else
        fi;
        /* BREAK who brought a signal was told that it is kept, and it is gone */
        assert(kept[0] == told[0] && kept[1] == told[1])
    }
}

init {
    atomic {
        run Worker(1); run Worker(2);
        run Signals(3, 0, 1 + TWICE); run Signals(4, 1, 1);
        run World()
    }
}
