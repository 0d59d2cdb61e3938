/*
 * A parallel group: two branches, the join, and what a cancel, a no and a parking do to them.
 *
 *   cursor 0  the group: branch 0 local, branch 1 at a provider whose cancel is final
 *   cursor 2  the step after it, local, the last
 *   back      the compensation visits branch 1, then branch 0
 *
 * Messages are not modelled: whatever is due may be claimed by anybody (every copy, every sweep).
 * A branch has a lease and a token of its own; only the commits meet, at the saga's row.
 *
 *   B_STATE    a branch that is done is not claimed                       (branch_rows._CLAIM)
 *   B_GROUP    ... nor one of a saga that has left the group
 *   I_SAGA     an intent wants the saga in the group                      (branch_rows._INTEND)
 *   I_TOKEN    ... and the branch with its token
 *   C_SAGA     a commit wants the saga in the group                       (branch_rows._COMMIT)
 *   C_STATE    ... and the branch open
 *   C_TOKEN    ... and its token
 *   COUNT      ... and counts down in the same transaction
 *   READ_AFTER the last one reads the others' replies after it has the saga's row
 *   BARRIER    intent and commit want the barrier open
 *   R_TOKEN    a no wants the branch's token                              (branch_stops._REJECT)
 *   TAKE       the compensation takes the branch from whoever has it      (branch_stops._TAKE)
 *   TOMBSTONE  ... and closes its barrier                                 (store._TOMBSTONE)
 *   VISIT      ... also of a branch that was only intended
 *   UNDO_IF    ... and undoes only what was intended or done
 *   U_FENCE    the compensation's own commits name status, cursor and token
 *   P_TOKEN    an operator's parking raises the branches' tokens          (branch_stops.stop)
 *
 * CRASH FREEZE NO (the provider refuses) CANCEL PARK: how often each may happen.
 */
#ifndef CRASH
#define CRASH 1
#endif
#ifndef FREEZE
#define FREEZE 1
#endif
#ifndef NO
#define NO 0
#endif
#ifndef CANCEL
#define CANCEL 1
#endif
#ifndef PARK
#define PARK 0
#endif

#define RUNNING      0
#define COMPENSATING 1
#define COMPLETED    2
#define COMPENSATED  3
/* a branch, and its barrier */
#define PENDING  0
#define INTENDED 1
#define DONE     2
#define REFUSED  3
#define CANCELED 4
/* the other side */
#define NOTHING 0
#define HELD    1
#define VOID    2

byte status, cursor, pending = 2, owner;
bit  lease, parked;
byte state[2], barrier[2], token[2];
bit  leased[2], alive[4];
byte other, effect[3], undone[2];
byte crash = CRASH, freeze = FREEZE, no = NO, cancel = CANCEL, park = PARK, resume = PARK;

#define open(b) (state[b] == PENDING || state[b] == INTENDED)
#define in_group (status == RUNNING && cursor == 0)
#ifdef B_STATE
#define b_state(b) open(b)
#else
#define b_state(b) (state[b] <= DONE)
#endif
#ifdef B_GROUP
#define b_group (in_group && pending > 0)
#else
#define b_group (status < COMPLETED)
#endif
#ifdef I_SAGA
#define i_saga in_group
#else
#define i_saga (true)
#endif
#ifdef I_TOKEN
#define i_token (open(1) && token[1] == me)
#else
#define i_token (true)
#endif
#ifdef C_SAGA
#define c_saga in_group
#else
#define c_saga (true)
#endif
#ifdef C_STATE
#define c_state(b) open(b)
#else
#define c_state(b) (true)
#endif
#ifdef C_TOKEN
#define c_token(b) (token[b] == me)
#else
#define c_token(b) (true)
#endif
#ifdef BARRIER
#define through(b) (barrier[b] <= INTENDED)
#else
#define through(b) (true)
#endif
#ifdef R_TOKEN
#define r_token (open(1) && token[1] == me)
#else
#define r_token (true)
#endif
#ifdef U_FENCE
#define u_fence (status == COMPENSATING && cursor == b && owner == me)
#else
#define u_fence (true)
#endif

inline leave() {
    alive[me] = 0; b = 0; answer = 0; seen = 0
}
#define OR_DIES :: crash > 0 -> crash--; leave(); goto idle
inline turn_round() {
    status = COMPENSATING; cursor = 1; pending = 0; parked = 0; owner = 0; lease = 0
}
inline count_down() {
    if :: pending > 0 -> pending-- :: else -> assert(false) fi;    /* BREAK counted too far */
    if
    :: pending == 0 && in_group ->                                               /* the join */
        assert(seen);                                 /* BREAK joined without a branch's reply */
        cursor = 2
    :: else
    fi
}

proctype Worker(byte me) {
    byte b, answer;
    bit seen;
idle:
end_idle:
    /* Both rows at once: so it is in SQL since the claim asks for the token it saw (_CLAIM). */
    atomic {                                                            /* TX of the claim */
        if
        :: b_group && !parked && b_state(0) && !leased[0] -> b = 0
        :: b_group && !parked && b_state(1) && !leased[1] -> b = 1
        :: status == RUNNING && cursor == 2 && !parked && !lease ->
            owner = me; lease = 1; alive[me] = 1; goto after
        :: status == COMPENSATING && !parked && !lease ->
            owner = me; lease = 1; alive[me] = 1; goto back
        fi;
        assert(in_group);                           /* BREAK a branch begins outside its group */
        token[b] = me; leased[b] = 1; alive[me] = 1;
        if OR_DIES :: skip fi
    };
    if :: b == 0 -> goto done :: else fi;

    atomic {                /* TX of the intent */
        if
        :: i_saga && i_token && through(1) ->
            assert(!parked || token[1] == me);
            if :: open(1) -> state[1] = INTENDED :: else fi;
            barrier[1] = INTENDED
        :: else -> leave(); goto idle
        fi;
        if OR_DIES :: skip fi
    };
    atomic {                                                                    /* the call */
        if
        :: other == NOTHING -> other = HELD; answer = 1
        :: other == NOTHING && no > 0 -> no--
        :: other == HELD -> answer = 1
        :: other == VOID
        fi;
        if OR_DIES :: skip fi
    };
    if
    :: answer -> skip
    :: else ->
        atomic {                /* TX of the rejection */
            if
            :: r_token && in_group && through(1) ->
                state[1] = REFUSED; barrier[1] = REFUSED; leased[1] = 0; turn_round()
            :: else
            fi;
            leave(); goto idle
        }
    fi;

done:
    /* The statement begins: what it reads of others is of now, also if it has to wait. */
    atomic { seen = (state[1 - b] == DONE); if OR_DIES :: skip fi };
    atomic {                /* TX of the branch */
        if
        :: c_saga && c_state(b) && c_token(b) && through(b) ->
            assert(!parked);                           /* BREAK a branch is done while parked */
            assert(status != COMPENSATED);              /* BREAK done after its compensation */
            effect[b]++; assert(effect[b] <= 1);                          /* BREAK done twice */
            state[b] = DONE; barrier[b] = DONE; leased[b] = 0; token[b] = 0;
#ifdef READ_AFTER
            seen = (state[1 - b] == DONE);
#endif
#ifdef COUNT
            count_down(); leave(); goto idle
#endif
        :: else -> leave(); goto idle
        fi;
        if OR_DIES :: skip fi
    };
    atomic { if :: in_group -> count_down() :: else fi; leave(); goto idle };

after:
    atomic {
        if
        :: status == RUNNING && cursor == 2 && owner == me ->
            assert(effect[0] == 1 && effect[1] == 1);           /* BREAK gone on without them */
            effect[2]++; assert(effect[2] <= 1);
            status = COMPLETED; cursor = 3
        :: else
        fi;
        leave(); goto idle
    };

back:
    atomic {
        if
        :: status == COMPENSATING && owner == me -> b = cursor
        :: else -> leave(); goto idle
        fi;
#ifdef TAKE
        if :: open(b) -> state[b] = CANCELED; token[b] = 0; leased[b] = 0 :: else fi;
#endif
        if OR_DIES :: skip fi
    };
    atomic {                /* TX: is there what to undo? */
        if :: u_fence -> skip :: else -> leave(); goto idle fi;
        answer = (barrier[b] == DONE || (b == 1 && barrier[b] != PENDING && barrier[b] != CANCELED));
#ifdef TOMBSTONE
        if :: barrier[b] == PENDING -> barrier[b] = CANCELED
           :: barrier[b] == INTENDED -> barrier[b] = REFUSED
           :: else fi;
#endif
#ifndef VISIT
        if :: state[b] != DONE -> answer = 0 :: else fi;
#endif
#ifndef UNDO_IF
        answer = 1;
#endif
        if OR_DIES :: skip fi
    };
    atomic {                                             /* the call that undoes, if it is one */
        if :: b == 1 && answer -> other = VOID :: else fi;
        if OR_DIES :: skip fi
    };
    atomic {                /* TX of the undo */
        if
        :: u_fence ->
            if
            :: answer && (b == 0 || effect[1]) ->
                undone[b]++; assert(undone[b] <= effect[b])        /* BREAK undone twice, or never done */
            :: else
            fi;
            if :: b == 1 -> cursor = 0 :: else -> status = COMPENSATED fi;
            owner = 0; lease = 0
        :: else
        fi;
        leave(); goto idle
    }
}

proctype World() {
end_world:
    do
    :: atomic { lease && (owner == 0 || !alive[owner]) && status != COMPLETED -> lease = 0; owner = 0 }
    :: atomic { lease && owner != 0 && alive[owner] && freeze > 0 -> freeze--; lease = 0; owner = 0 }
    :: atomic { leased[0] && (token[0] == 0 || !alive[token[0]]) -> leased[0] = 0 }
    :: atomic { leased[1] && (token[1] == 0 || !alive[token[1]]) -> leased[1] = 0 }
    :: atomic { leased[0] && token[0] != 0 && alive[token[0]] && freeze > 0 -> freeze--; leased[0] = 0 }
    :: atomic { leased[1] && token[1] != 0 && alive[token[1]] && freeze > 0 -> freeze--; leased[1] = 0 }
    :: atomic { cancel > 0 && status == RUNNING -> cancel--; turn_round() }
    :: atomic { cancel > 0 -> cancel-- }                                   /* or it never comes */
    :: atomic { park > 0 && status < COMPLETED && !parked ->
                park--; parked = 1; owner = 0; lease = 0;
#ifdef P_TOKEN
                token[0] = 0; token[1] = 0;
#endif
                leased[0] = 0; leased[1] = 0 }
    :: atomic { park > 0 -> park-- }
    :: atomic { resume > 0 && parked -> resume--; parked = 0 }
    od
}

active proctype Judge() {
    atomic { timeout;
        if
        :: parked -> skip
        :: else ->
            assert(status == COMPLETED || status == COMPENSATED);                 /* BREAK stuck */
            if
            :: status == COMPLETED -> assert(undone[0] + undone[1] == 0 && other == HELD)
            :: else ->
                assert(effect[0] == undone[0] && effect[1] == undone[1]);   /* BREAK it stands */
                assert(other != HELD && effect[2] == 0)                 /* BREAK a hold stands */
            fi
        fi
    }
}

init {
    atomic { run Worker(1); run Worker(2); run World() }
}
