/*
 * A semantic lock: three sagas want one order, which is in the hand of one of them at the most.
 *
 * What is modelled is the order of statements inside a transaction, since that is where a wake-up
 * is lost and a lock given away: each atomic block is a statement, and what concerns a saga's row
 * is seen by others at the commit, the last block. `writer` has the lock's row for itself,
 * `sharing` hold it against writers, `row` is who has a saga's row.
 *
 *   SHARE    who meets the lock shares its row until its own commit          (locks._MEET)
 *   AGAIN    ... and asks again when it was gone
 *   KEEP     a second start under the same id gives back only what it has taken itself
 *                                                                       (starting._insert)
 *   EXCLUDE  who ends has the lock's row before it looks who waits      (handover._HELD)
 *   WAKES    ... wakes only who still sleeps, or else the next          (handover._WAKE)
 *   OWN      ... and hands the lock on in the commit that ends it
 *   LOOK     who was rung looks for its lock before it goes on          (locks.sleeps_on)
 *   STILL    ... and is awake only if it has not been canceled          (locks._AWAKE)
 *
 * DEADLOCK: a worker that froze before it looked has the lock's row and wants the saga's, when its
 * successor ends that saga with the rows in the other order. PostgreSQL ends one of the two, here
 * the late one; whoever it is, the other one comes to its end and nothing was written.
 *
 * Who is awake ends some time: steps, messages and the sweeper are link.pml.
 * CRASH (a process dies in a transaction) CANCEL (who sleeps is canceled) RING (a false message)
 * TWICE (saga 1 is started twice at once): how often each may happen.
 */
#ifndef CRASH
#define CRASH 1
#endif
#ifndef CANCEL
#define CANCEL 1
#endif
#ifndef RING
#define RING 1
#endif
#ifndef TWICE
#define TWICE 1
#endif

#define NONE   0
#define AWAKE  1
#define ASLEEP 2
#define ENDED  3

byte saga[4], row[4];
byte holder, writer, sharing;                        /* the lock's row; 0 if there is none */
byte crash = CRASH, cancel = CANCEL, ring = RING;

inline goes_on(s) {
    saga[s] = AWAKE;
    assert((saga[1] == AWAKE) + (saga[2] == AWAKE) + (saga[3] == AWAKE) <= 1)
                                                    /* BREAK two have the order in hand */
}
inline release() {
    if :: writer == id -> writer = 0 :: else fi; sharing = sharing - shares;
    took = 0; had = 0; shares = 0; mine = 0
}
inline rollback() { if :: took -> holder = 0 :: else fi; release() }

/* take(): _TAKE, and _MEET where it is there */
#define ASK \
    atomic { writer == 0; \
        if :: holder == 0 -> holder = me; writer = id; took = 1 :: else fi }; \
    if :: took -> goto asked :: else fi; \
    atomic { writer == 0; \
        if \
        :: holder == 0 -> MISSED \
        :: else -> had = (holder == me); SHARES \
        fi }
#ifdef AGAIN
#define MISSED goto ask
#else
#define MISSED skip
#endif
#ifdef SHARE
#define SHARES sharing++; shares = 1
#else
#define SHARES skip
#endif
#ifdef KEEP
#define gives_back took
#else
#define gives_back (took || had)
#endif

proctype Start(byte id; byte me) {
    bit took, had, shares, mine;
    if :: saga[me] != NONE -> goto out :: else fi;                         /* the key is taken */
ask:
    ASK;
asked:
    atomic { if :: crash > 0 -> crash--; rollback(); goto out :: skip fi };
    atomic { saga[me] != NONE || row[me] == 0;                         /* the row of the saga */
        if :: saga[me] == NONE -> row[me] = id; mine = 1 :: else fi };
    if
    :: !mine && gives_back ->
        atomic { sharing == shares && (writer == 0 || writer == id); writer = id; holder = 0 }
    :: else
    fi;
    atomic {                                                                    /* the commit */
        if
        :: mine && (took || had) -> goes_on(me); row[me] = 0
        :: mine && !took && !had -> saga[me] = ASLEEP; row[me] = 0
        :: else
        fi;
        release()
    };
out: skip
}

/* rings a saga that sleeps, for nothing or not */
proctype Ring(byte id) {
    byte me; bit took, had, shares, mine;
end_idle:
    atomic { ring > 0;
        if
        :: saga[1] == ASLEEP -> me = 1
        :: saga[2] == ASLEEP -> me = 2
        :: saga[3] == ASLEEP -> me = 3
        :: ring-- ; goto end_idle                                          /* or it never comes */
        fi;
        ring--;
#ifndef LOOK
        goes_on(me); goto end_idle
#endif
    };
ask:
    ASK;
asked:
    atomic { if :: crash > 0 -> crash--; rollback(); goto end_idle :: skip fi };
    atomic {
        if
        :: row[me] == 0
        :: row[me] != 0 && (shares || took) -> rollback(); goto end_idle      /* see DEADLOCK */
        fi;
#ifdef STILL
        if :: saga[me] != ASLEEP -> rollback(); goto end_idle :: else fi;
#endif
        assert(saga[me] != ENDED || !(took || had));              /* BREAK who has ended goes on */
        if :: took || had -> goes_on(me) :: else fi;
        release(); goto end_idle
    }
}

proctype End(byte id) {
    byte me, next;
end_idle:
    atomic {
        if
        :: saga[1] == AWAKE && row[1] == 0 -> me = 1
        :: saga[2] == AWAKE && row[2] == 0 -> me = 2
        :: saga[3] == AWAKE && row[3] == 0 -> me = 3
        fi;
        row[me] = id;
        assert(holder == me)                               /* BREAK it works without its lock */
    };
#ifdef EXCLUDE
    atomic { writer == 0 && sharing == 0; writer = id };
#endif
#ifndef OWN
    atomic { saga[me] = ENDED; row[me] = 0;
        if :: writer == id -> writer = 0 :: else fi;
        if :: crash > 0 -> crash--; goto end_idle :: skip fi };
#endif
look:
    atomic {
        if
        :: saga[1] == ASLEEP -> next = 1
        :: else ->
            if
            :: saga[2] == ASLEEP -> next = 2
            :: else -> if :: saga[3] == ASLEEP -> next = 3 :: else -> next = 0 fi
            fi
        fi;
#ifdef OWN
        if
        :: crash > 0 -> crash--; row[me] = 0; if :: writer == id -> writer = 0 :: else fi;
            goto end_idle
        :: skip
        fi
#endif
    };
    atomic {
        if
        :: next == 0
        :: next != 0 && row[next] == 0 ->
#ifdef WAKES
            if :: saga[next] != ASLEEP -> goto look :: else fi;
#endif
            row[next] = id
        fi
    };
    atomic { sharing == 0 && (writer == 0 || writer == id);                     /* the commit */
        if :: saga[me] == AWAKE -> saga[me] = ENDED; row[me] = 0 :: else fi;
        if
        :: next == 0 -> holder = 0
        :: else ->
            assert(saga[next] == ASLEEP);                    /* BREAK who has ended goes on */
            holder = next; row[next] = 0; goes_on(next)
        fi;
        writer = 0; goto end_idle
    }
}

proctype Cancel() {
end_idle:
    do
    :: atomic { cancel > 0 && saga[1] == ASLEEP && row[1] == 0 -> cancel--; saga[1] = ENDED }
    :: atomic { cancel > 0 && saga[2] == ASLEEP && row[2] == 0 -> cancel--; saga[2] = ENDED }
    :: atomic { cancel > 0 -> cancel-- }                                   /* or it never comes */
    od
}

active proctype Judge() {
    atomic { timeout;
        assert(writer == 0 && sharing == 0);                          /* BREAK a deadlock */
        /* BREAK it sleeps for a lock that nobody has */
        assert(saga[1] != ASLEEP && saga[2] != ASLEEP && saga[3] != ASLEEP);
        assert(saga[1] != AWAKE && saga[2] != AWAKE && saga[3] != AWAKE);       /* BREAK stuck */
        assert(holder == 0)                                      /* BREAK a lock was left behind */
    }
}

init {
    atomic {
        run Start(1, 1); run Start(2, 2); run Start(3, 3);
        if :: TWICE > 0 -> run Start(4, 1) :: else fi;
        run Ring(5); run End(6); run End(7); run Cancel()
    }
}
