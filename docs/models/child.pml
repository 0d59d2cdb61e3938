/*
 * A parent that starts a child, sleeps until it has ended, and is canceled at any time.
 *
 *   step 0  the child      step 1  the last      back: the child's step is undone
 *
 * Messages are not modelled: whatever is due may be claimed by anybody. Each atomic block is a
 * statement; `prow` and `crow` are the locks of the two rows, and what a transaction has written
 * is seen at its commit, the last block. The child is a saga that ends well or is compensated
 * (what it does inside is link.pml).
 *
 *   LOCK    the parent's worker takes its saga's row ...                       (waits.lock)
 *   AFTER   ... and looks in a statement after that whether the child has told its end
 *   FIND    ... and whether it has been started
 *   FENCE   the lock wants status, cursor and token
 *   SAME    who ends the child tells the parent in the same commit             (the trigger)
 *   WAKE    ... and wakes it
 *   ORDER   the child is called back in a transaction of its own, so that nobody takes the row
 *           of the child while he holds the parent's                           (children._call_back)
 *   AGAIN   who has called it back looks again with the parent's row in hand
 *   CALL    a child that runs is called back
 *   UNDO    what a completed child has done is undone
 *   B_CLEAR a cancel wakes the parent
 *
 * CRASH FREEZE CANCEL RING (it is rung in its sleep, by an operator's resume or a sweep): how often
 * each may happen.
 */
#ifndef CRASH
#define CRASH 1
#endif
#ifndef FREEZE
#define FREEZE 1
#endif
#ifndef CANCEL
#define CANCEL 1
#endif
#ifndef RING
#define RING 1
#endif

#define NONE         0
#define RUNNING      1
#define COMPENSATING 2
#define COMPLETED    3
#define COMPENSATED  4
#define ended(s) (s >= COMPLETED)

byte parent = RUNNING, at, owner, child, children, undone, prow, crow;
bit  lease, delayed, sleeps, told, alive[4];
byte crash = CRASH, freeze = FREEZE, cancel = CANCEL, ring = RING;

#ifdef FENCE
#define fence(s) (parent == s && owner == me)
#else
#define fence(s) (true)
#endif

inline leave() {
    if :: prow == me -> prow = 0 :: else fi; if :: crow == me -> crow = 0 :: else fi;
    alive[me] = 0; seen = 0; there = 0
}
#define OR_DIES :: crash > 0 -> crash--; leave(); goto idle
inline give_up_lease() { owner = 0; lease = 0 }

proctype Worker(byte me) {
    byte seen; bit there;
idle:
end_idle:
    atomic { !ended(parent) && !lease && !delayed && prow == 0;
        owner = me; lease = 1; alive[me] = 1;
        if :: parent == COMPENSATING -> goto back :: else fi;
        if OR_DIES :: skip fi
    };
    if :: at == 1 ->
        atomic { prow == 0;
            if :: fence(RUNNING) -> parent = COMPLETED :: else fi; leave(); goto idle }
       :: else
    fi;
#ifndef AFTER
    atomic { seen = told; there = (child != NONE) };
#endif
#ifdef LOCK
    atomic { prow == 0; if :: fence(RUNNING) -> prow = me :: else -> leave(); goto idle fi };
#endif
#ifdef AFTER
    atomic { seen = told; there = (child != NONE); if OR_DIES :: skip fi };
#endif
    atomic { prow == 0 || prow == me;                        /* what it writes, and the commit */
        if :: !fence(RUNNING) -> leave(); goto idle :: else fi;
        assert(parent == RUNNING);                               /* BREAK a cancel is overwritten */
        if
        :: seen && child == COMPLETED -> at = 1; sleeps = 0
        :: seen && child != COMPLETED -> parent = COMPENSATING; sleeps = 0
        :: else ->
#ifdef FIND
            if :: !there ->
#else
            if :: true ->
#endif
                child = RUNNING; children++;
                assert(children <= 1)                            /* BREAK a child was sent twice */
               :: else fi;
            sleeps = 1; delayed = 1
        fi;
        give_up_lease(); leave(); goto idle
    };

back:
    atomic { seen = child; if OR_DIES :: skip fi };                             /* find, no lock */
    if :: seen == NONE || ended(seen) -> goto undo :: else fi;
#ifndef ORDER
    atomic { prow == 0; if :: fence(COMPENSATING) -> prow = me :: else -> leave(); goto idle fi };
#endif
#ifdef CALL
    atomic { crow == 0;                                                 /* TX: it is called back */
        if :: child == RUNNING -> child = COMPENSATING :: else fi;
        if OR_DIES :: skip fi
    };
#endif
    atomic { prow == 0 || prow == me;
        if :: fence(COMPENSATING) -> prow = me :: else -> leave(); goto idle fi };
#ifdef AGAIN
    atomic { seen = child; if OR_DIES :: skip fi };
#endif
    atomic { prow == me;
        if
        :: !ended(seen) -> sleeps = 1; delayed = 1; give_up_lease(); leave(); goto idle
        :: else -> prow = 0
        fi
    };
undo:
    atomic { prow == 0;
        if
        :: fence(COMPENSATING) ->
            if :: seen == COMPLETED ->
#ifdef UNDO
                undone++;
#endif
                assert(undone <= 1)
               :: else
            fi;
            parent = COMPENSATED; give_up_lease()
        :: else
        fi;
        leave(); goto idle
    }
}

/* ends the child, whoever does it */
proctype Child(byte me) {
    byte end; bit seen, there;
idle:
end_idle:
    atomic { (child == RUNNING || child == COMPENSATING) && crow == 0; crow = me;
        end = (child == RUNNING -> COMPLETED : COMPENSATED) };
#ifndef SAME
    atomic { child = end; crow = 0; if OR_DIES :: skip fi };
#endif
    atomic { prow == 0 -> prow = me; if OR_DIES :: skip fi };                    /* the trigger */
    atomic {
        child = end; told = 1;
#ifdef WAKE
        if :: sleeps -> delayed = 0 :: else fi;
#endif
        leave(); goto idle
    }
}

proctype World() {
end_world:
    do
    :: atomic { lease && (owner == 0 || !alive[owner]) -> lease = 0 }
    :: atomic { lease && owner != 0 && alive[owner] && freeze > 0 && prow != owner ->
                freeze--; lease = 0 }
    :: atomic { cancel > 0 && parent == RUNNING && prow == 0 ->
                cancel--; parent = COMPENSATING; owner = 0; lease = 0; sleeps = 0;
#ifdef B_CLEAR
                delayed = 0
#endif
              }
    :: atomic { cancel > 0 -> cancel-- }                                   /* or it never comes */
    :: atomic { ring > 0 && delayed && prow == 0 -> ring--; delayed = 0 }
    :: atomic { ring > 0 -> ring-- }
    :: atomic { child == RUNNING && crow == 0 && freeze > 0 ->       /* it fails by itself */
                freeze--; child = COMPENSATING }
    od
}

active proctype Judge() {
    atomic { timeout;
        assert(prow == 0 && crow == 0);                                      /* BREAK a deadlock */
        assert(ended(parent));             /* BREAK it sleeps although its child has ended */
        assert(child == NONE || ended(child));                     /* BREAK a child is left behind */
        if
        :: parent == COMPLETED -> assert(child == COMPLETED && undone == 0)
        :: parent == COMPENSATED -> assert((child == COMPLETED) == undone)   /* BREAK it stands */
        fi
    }
}

init {
    atomic { run Worker(1); run Worker(2); run Child(3); run World() }
}
