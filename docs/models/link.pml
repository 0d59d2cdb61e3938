/*
 * One saga and everybody who may carry it on: the messages of its chain and their copies, workers
 * that die or freeze, tasks that claim it along with others, the sweeper, a cancel, an operator.
 *
 *   step 0  local, compensatable    } link A
 *   step 1  local, the pivot        }
 *   step 2  local, retriable          link B
 *   the way back is one link, steps 2 to 0
 *
 * An atomic block is one transaction, whose UPDATE names what it relies on. Between two blocks a
 * worker may be killed (CRASH), or freeze and come back when its lease has run out (FREEZE). Tokens
 * are only ever compared for equality, so `owner == me` is "my token is the current one", and a
 * token that is raised is `owner = 0`. A lease is counted in halves; TICK is half a lease.
 *
 * The guards of sagas/orchestration, each a macro; `check` leaves out one after the other.
 *
 *   claim, store._CLAIM          C_STATUS C_CURSOR C_LEASE C_DELAY C_PARKED
 *   commit of a step, store.MOVE  M_STATUS M_CURSOR M_TOKEN, BARRIER (the step's barrier row)
 *   fault, stops._FAULT          F_STATUS F_TOKEN
 *   compensation                 B_PAST (not past the point of no return), B_STATUS (running),
 *                                B_TOKEN (raises the token and ends the lease)
 *   way back                     TOMBSTONE (a step that never ran is closed), UNDO_IF (only what
 *                                took effect is undone)
 *   end of a link                RELEASE (the commit that ends it releases the lease)
 *   lease                        LIMIT (a link's hard time limit is shorter than the lease)
 *                                RENEW (half a lease before its end a commit renews it)
 *   given back                   G_TOKEN (only what is still mine), G_COUNT (the attempt too)
 *   Redis                        K_AFTER (told after the commit), K_SWEPT (not asked by the sweeper)
 *   liveness                     SWEEP
 *
 * Other shapes:
 *   DETACHED   effect and cursor are in two databases: the effect with its barrier row, then the
 *              cursor with the fence
 *   HIT_GOES_ON  a step whose effect is there already goes on to the cursor
 *
 * How often something may happen: CRASH FREEZE LOSS COPY FAULT REJECT CANCEL PARK RESUME SLICE BATCH
 * FALSE_KEY; MAX is SAGAS_MAX_ATTEMPTS. WORKERS workers.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef MAX
#define MAX 2
#endif
#ifndef CRASH
#define CRASH 1
#endif
#ifndef FREEZE
#define FREEZE 1
#endif
#ifndef LOSS
#define LOSS 1
#endif
#ifndef COPY
#define COPY 1
#endif
#ifndef FAULT
#define FAULT 0
#endif
#ifndef REJECT
#define REJECT 0
#endif
#ifndef CANCEL
#define CANCEL 1
#endif
#ifndef PARK
#define PARK 0
#endif
#ifndef RESUME
#define RESUME 0
#endif
#ifndef SLICE
#define SLICE 1
#endif
#ifndef BATCH
#define BATCH 0
#endif
#ifndef FALSE_KEY
#define FALSE_KEY 0
#endif

#define RUNNING      0
#define COMPENSATING 1
#define COMPLETED    2
#define COMPENSATED  3
#define finished (status >= COMPLETED)

#define LAST 2
#define NONE 0                                                          /* barrier rows */
#define DONE 1
#define CANCELED 2

/* messages: link A, link B, way back, continue_saga; and the first three from the sweeper */
#define A 0
#define B 1
#define U 2
#define CONTINUE 3
#define SWEPT 4
byte queue[7];
#define is_swept(m) (m >= SWEPT)
#define kind(m) (m & 3)
#define low(m)  (kind(m) == B -> 2 : 0)
#define high(m) (kind(m) == A -> 1 : 2)
#define waiting (queue[0] + queue[1] + queue[2] + queue[3] + queue[4] + queue[5] + queue[6])

/* the saga's row */
byte status, cursor, attempts, owner, lease;
bit  past, delayed, parked;
byte did[3], undid[3];                                         /* barrier rows, both ways */
byte key_do, key_undo = 3;                /* Redis: next to do, last undone; 0 and 3: nothing */

/* what is true, known to nobody */
byte effect[3], undone[3], failed, age, frozen;
bit  alive[4], swept;

byte crash = CRASH, freeze = FREEZE, loss = LOSS, copy = COPY, fault = FAULT, reject = REJECT,
     cancel = CANCEL, park = PARK, resume = RESUME, slice = SLICE, batch = BATCH,
     false_key = FALSE_KEY;

#ifdef C_STATUS
#define c_status(m) (status == (kind(m) == U -> COMPENSATING : RUNNING))
#else
#define c_status(m) (!finished)
#endif
#ifdef C_CURSOR
#define c_cursor(m) (cursor >= low(m) && cursor <= high(m))
#else
#define c_cursor(m) (cursor <= LAST)
#endif
#ifdef C_LEASE
#define c_lease (lease == 0)
#else
#define c_lease (true)
#endif
#ifdef C_DELAY
#define c_delay (!delayed)
#else
#define c_delay (true)
#endif
#ifdef C_PARKED
#define c_parked (!parked)
#else
#define c_parked (true)
#endif
#ifdef M_STATUS
#define m_status (status == my_status)
#else
#define m_status (!finished)
#endif
#ifdef M_CURSOR
#define m_cursor (cursor == at)
#else
#define m_cursor (true)
#endif
#ifdef M_TOKEN
#define m_token (owner == me)
#else
#define m_token (true)
#endif
#define fence (m_status && m_cursor && m_token)
#ifdef F_STATUS
#define f_status (status == my_status && cursor == at)
#else
#define f_status (!finished)
#endif
#ifdef F_TOKEN
#define f_fence (f_status && owner == me)
#else
#define f_fence (f_status)
#endif
#ifdef G_TOKEN
#define g_token (owner == me)
#else
#define g_token (true)
#endif
#ifdef BARRIER
#define open(b) (b == NONE)
#else
#define open(b) (true)
#endif
#ifdef B_PAST
#define b_past (!past)
#else
#define b_past (true)
#endif
#ifdef B_STATUS
#define b_status (status == RUNNING)
#else
#define b_status (!finished)
#endif

inline send(m) { if :: queue[m] < 2 -> queue[m]++ :: else fi }
inline send_due(s) {
    if
    :: status == RUNNING && cursor <= 1 -> send(A + s)
    :: status == RUNNING && cursor == 2 -> send(B + s)
    :: status == COMPENSATING -> send(U + s)
    :: else
    fi
}
inline release() { owner = 0; lease = 0 }
inline moved() { attempts = 0; failed = 0; swept = 0 }
inline forget() { alive[me] = 0; at = 0; my_status = 0; mine = 0; ends = 0; m = 0 }
inline dies() { crash--; swept = 0; if :: owner == me -> failed++ :: else fi; forget() }
/* kill -9 at the boundary behind the block that has just ended */
#define OR_DIES :: crash > 0 -> dies(); goto idle
/* the hard time limit has ended this worker meanwhile */
#define IF_ALIVE if :: !alive[me] -> forget(); goto idle :: else fi

inline begin_compensation() {
    assert(!past);                               /* BREAK compensation past the point of no return */
    status = COMPENSATING; cursor = LAST; delayed = 0; parked = 0;
#ifdef B_TOKEN
    release();
#endif
    moved()
}

inline claim() {
    if
    :: owner != 0 ->
        /* BREAK a worker that lives and is in its time was robbed */
        assert(!alive[owner] || frozen == owner);
        if :: alive[owner] -> failed++ :: else fi
    :: else
    fi;
    assert(!parked);                                                /* BREAK a parked saga runs */
    assert(!delayed);                                              /* BREAK tried before its time */
    owner = me; lease = 2; age = 0; delayed = 0; swept = 0; attempts++;
    alive[me] = 1; mine = attempts; at = cursor; my_status = status;
    if :: frozen == me -> frozen = 0 :: else fi
}

inline undo() {
    if
#ifdef UNDO_IF
    :: did[at] == DONE -> undone[at]++
#else
    :: did[at] != 7 -> undone[at]++
#endif
#ifdef TOMBSTONE
    :: did[at] == NONE -> did[at] = CANCELED
#endif
    :: else
    fi;
    undid[at] = DONE;
    assert(undone[at] <= effect[at])                         /* BREAK undone twice, or for nothing */
}

proctype Worker(byte me) {
    byte m, at, my_status, mine;
    bit ends;
idle:
end_idle:
    atomic {
        if
        :: queue[0] > 0 -> m = 0 :: queue[1] > 0 -> m = 1 :: queue[2] > 0 -> m = 2
        :: queue[3] > 0 -> m = 3 :: queue[4] > 0 -> m = 4 :: queue[5] > 0 -> m = 5
        :: queue[6] > 0 -> m = 6
        /* a task that came for another saga takes this one along, fresh as it is */
        :: batch > 0 && !finished && attempts == 0 && lease == 0 && owner == 0 && !delayed && !parked ->
            batch--; claim();
            if
            :: status == COMPENSATING -> m = U
            :: status == RUNNING && cursor <= 1 -> m = A
            :: status == RUNNING && cursor == 2 -> m = B
            fi;
            goto along
        fi;
        if :: queue[m]-- :: copy > 0 -> copy-- fi;
        if
        :: m == CONTINUE ->
            /* decides nothing: sends what the row says is due */
            if :: !finished && !parked && lease == 0 && !delayed -> send_due(0) :: else fi;
            forget(); goto idle
        :: else
        fi;
        if                                                              /* is it in Redis? */
#ifdef K_SWEPT
        :: !is_swept(m) && ((kind(m) != U && key_do > high(m)) || (kind(m) == U && key_undo == 0)) ->
#else
        :: (kind(m) != U && key_do > high(m)) || (kind(m) == U && key_undo == 0) ->
#endif
            goto passed
        :: else
        fi;
        if
        :: c_status(m) && c_cursor(m) && c_lease && c_delay && c_parked && !finished -> claim()
        :: kind(m) != U && (status == RUNNING || status == COMPLETED) && cursor > high(m) ->
            goto passed
        :: kind(m) == U && status == COMPENSATED -> forget(); goto idle
        :: else -> forget(); goto idle                                   /* Ignore; no attempt */
        fi;
        if OR_DIES :: skip fi
    };
    goto attempt;

along:                                         /* claimed with others: begun, or given back */
    atomic {
        IF_ALIVE;
        if
        :: g_token ->
            assert(owner == me);           /* BREAK a late give-back ends the lease of another */
            release();
#ifdef G_COUNT
            if :: attempts > 0 -> attempts-- :: else fi;
#endif
            if :: send_due(0) :: loss > 0 -> loss--; swept = 0 fi;
            forget(); goto idle
        :: true
        fi
    };

attempt:
    atomic {                                                    /* too many attempts: parked */
        IF_ALIVE;
        if
        :: mine > MAX ->
            if :: f_fence -> parked = 1; release();
                assert(failed >= MAX)             /* BREAK parked though nobody had failed so often */
            :: else fi;
            forget(); goto idle
        :: else
        fi
    };

step:                                     /* the handler works here; whoever freezes, freezes here */
    atomic {
        IF_ALIVE;
        if
        :: fault > 0 ->                                               /* TX of the fault */
            fault--;
            if
            :: f_fence ->
                /* BREAK a late fault ends the lease of whoever took over */
                assert(owner == me);
                failed++; release(); swept = 0;
                if :: mine >= MAX -> parked = 1; assert(failed >= MAX) :: else -> delayed = 1 fi
            :: else
            fi;
            forget(); goto idle
        :: reject > 0 && kind(m) != U && at == 0 ->                   /* TX of the rejection */
            reject--;
            if
            :: fence && !past -> begin_compensation();
                if
                :: send(CONTINUE)                     /* link_error, published by Celery */
                :: loss > 0 -> loss--; swept = 0
                :: owner = me; lease = 2; age = 0; attempts = 1; mine = 1; alive[me] = 1;
                   at = cursor; my_status = status; m = U; goto step      /* goes back itself */
                fi
            :: else
            fi;
            forget(); goto idle
        :: true
        fi;
        ends = (kind(m) == U -> at == low(m) : at == high(m));
        if :: !ends && slice > 0 -> slice--; ends = 1 :: true fi;
#ifndef K_AFTER
        if
        :: kind(m) == U && at == 0 -> key_undo = 0
        :: kind(m) != U && at == high(m) -> key_do = at + 1
        :: else
        fi;
        if OR_DIES :: skip fi;
#endif
        if :: kind(m) == U -> goto back :: else fi
    };

#ifdef DETACHED
    atomic {                                           /* TX of the effect, in the context */
        IF_ALIVE;
        if
        :: open(did[at]) ->
            effect[at]++; assert(effect[at] <= 1);                        /* BREAK effect twice */
            did[at] = DONE
#ifdef HIT_GOES_ON
        :: !open(did[at]) && did[at] == DONE
#endif
        :: else -> forget(); goto idle
        fi;
        if OR_DIES :: skip fi
    };
#endif
    atomic {                                              /* TX of the cursor, and the effect */
        IF_ALIVE;
        if
#ifdef DETACHED
        :: fence ->
#else
        :: fence && open(did[at]) ->
            effect[at]++; assert(effect[at] <= 1);                        /* BREAK effect twice */
            did[at] = DONE;
#endif
            assert(!parked);                            /* BREAK a step committed while parked */
            assert(status == RUNNING);                   /* BREAK a cancel was overwritten */
            /* BREAK a step ran on the queue of another */
            assert(at >= low(m) && at <= high(m));
            moved(); status = RUNNING; cursor = at + 1;
            if :: at == 1 -> past = 1 :: else fi;
            if :: at == LAST -> status = COMPLETED; ends = 1 :: else fi
        :: else -> forget(); goto idle                                 /* StaleFencingToken */
        fi;
        if
        :: ends ->
#ifdef RELEASE
            release()
#else
            if :: finished -> release() :: else fi
#endif
        :: else ->
#ifdef RENEW
            if :: lease == 1 -> lease = 2 :: else fi
#else
            skip
#endif
        fi;
        if OR_DIES :: skip fi;
        at++; mine = 1;
        if :: !ends -> goto step :: else fi;
        if :: at <= high(m) -> goto rest :: else fi
    };
#ifdef K_AFTER
    atomic { key_do = at; if OR_DIES :: skip fi };
#endif

passed:                                     /* the body has returned, Celery publishes link B */
    atomic {
        if :: kind(m) == A -> if :: send(B) :: loss > 0 -> loss--; swept = 0 fi :: else fi;
#ifndef RELEASE
        if :: owner == me -> swept = 0 :: else fi;
#endif
        forget(); goto idle
    };

rest:                                            /* its slice was spent: publishes what remains */
    atomic {
        if :: send_due(0) :: loss > 0 -> loss--; swept = 0 fi;
        forget(); goto idle
    };

back:
#ifdef DETACHED
    atomic {                                           /* TX of the undo, in the context */
        IF_ALIVE;
        if
        :: open(undid[at]) -> undo()
#ifdef HIT_GOES_ON
        :: !open(undid[at])
#endif
        :: else -> forget(); goto idle
        fi;
        if OR_DIES :: skip fi
    };
#endif
    atomic {
        IF_ALIVE;
        if
#ifdef DETACHED
        :: fence ->
#else
        :: fence && open(undid[at]) ->
            undo();
#endif
            assert(!parked);
            moved();
            if
            :: at == 0 -> status = COMPENSATED; release()
            :: else -> status = COMPENSATING; cursor = at - 1;
                if
                :: ends -> release()
                :: else ->
#ifdef RENEW
                    if :: lease == 1 -> lease = 2 :: else fi
#else
                    skip
#endif
                fi
            fi
        :: else -> forget(); goto idle
        fi;
        if OR_DIES :: skip fi;
        if
        :: at == 0 ->
#ifdef K_AFTER
            key_undo = 0;
#endif
            forget(); goto idle
        :: at > 0 && ends -> goto rest
        :: else -> at--; mine = 1; goto step
        fi
    }
}

proctype World() {
end_world:
    do
    /* half a lease goes by */
    :: atomic { lease > 0 && (owner == 0 || !alive[owner] || frozen == owner) -> lease--; swept = 0 }
#ifdef LIMIT
    :: atomic { lease > 0 && owner != 0 && alive[owner] && frozen != owner && age == 0 -> age = 1; lease-- }
    :: atomic { lease == 1 && owner != 0 && alive[owner] && frozen != owner && age == 1 && crash > 0 ->
                crash--; failed++; alive[owner] = 0 }                  /* the hard limit ends it */
#else
    :: atomic { lease > 0 && owner != 0 && alive[owner] && frozen != owner -> lease-- }
#endif
    :: atomic { freeze > 0 && frozen == 0 && owner != 0 && alive[owner] -> freeze--; frozen = owner }
    :: atomic { loss > 0 && queue[A] > 0 -> loss--; queue[A]--; swept = 0 }
    :: atomic { loss > 0 && queue[B] > 0 -> loss--; queue[B]--; swept = 0 }
    :: atomic { loss > 0 && queue[U] > 0 -> loss--; queue[U]--; swept = 0 }
    :: atomic { loss > 0 && queue[CONTINUE] > 0 -> loss--; queue[CONTINUE]--; swept = 0 }
    :: atomic { cancel > 0 && b_status && b_past ->
                cancel--; begin_compensation();
                if :: send(U) :: loss > 0 -> loss-- fi }
    :: atomic { park > 0 && !finished && !parked -> park--; parked = 1; swept = 0;
                release() }
    :: atomic { resume > 0 && parked -> resume--; parked = 0; delayed = 0; attempts = 0; failed = 0;
                swept = 0; release() }
    :: atomic { false_key > 0 -> false_key--; key_do = 3; key_undo = 0 }
    /* or it never comes */
    :: atomic { cancel + park + resume + false_key > 0 ->
                cancel = 0; park = 0; resume = 0; false_key = 0 }
#ifdef SWEEP
    /* due: no lease, or one that has run out; a delay that is over; a hint nobody took */
    :: atomic { !finished && !parked && lease == 0 && waiting == 0 && !swept ->
                swept = 1; delayed = 0; send_due(SWEPT) }
#endif
    od
}

active proctype Judge() {
    atomic { timeout;
        assert(finished || parked);                                              /* BREAK stuck */
        if
        :: status == COMPLETED ->
            assert(effect[0] == 1 && effect[1] == 1 && effect[2] == 1);
            assert(undone[0] + undone[1] + undone[2] == 0)           /* BREAK done, and yet undone */
        :: status == COMPENSATED ->
            assert(effect[0] == undone[0]);                              /* BREAK an effect stands */
            assert(effect[1] == undone[1] && effect[2] == undone[2])
        :: else
        fi
    }
}

init {
    byte w = 1;
    atomic {
        send(A);
        do :: w <= WORKERS -> run Worker(w); w++ :: else -> break od;
        run World()
    }
}
