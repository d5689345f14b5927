/*
 * definition.h
 *		A saga's definition, compiled: what the engine runs.
 *
 * Made from the JSON document by definition_parse.c, checked by
 * definition_verify.c, cached per backend by definition_store.c.  Immutable once
 * made; everything lives in one memory context.  Names of states, timers, facts
 * and rules are replaced by their index in the definition's lists.
 */
#ifndef ECOMMERCE_SAGA_DEFINITION_DEFINITION_H
#define ECOMMERCE_SAGA_DEFINITION_DEFINITION_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

#include "pg/registration.h"
#include "saga/value/delay.h"
#include "saga/value/path.h"
#include "saga/value/template.h"

#define NOWHERE (-1)			/* no index */

/* What happens to an event for which a state has no transition. */
typedef enum Decision
{
	DECIDE_IGNORE,
	DECIDE_DEFER,
	DECIDE_FAULT,
	DECIDE_UNDECIDED			/* refused by verification */
} Decision;

/*
 * What is known about one participant: a set of records {key, attempt, st, ...}
 * under one name in data.  Statuses form a lattice and only grow.
 */
typedef struct Fact
{
	const char *name;
	bool		many;			/* an array in data; else the latest record, older in "earlier" */
	int			status_count;
	const char **statuses;		/* the first is that of a record that is not there yet */
	bool	   *edge;			/* [from * status_count + to]: listed */
	bool	   *late;			/* listed as against the expectation: marks the record late */
	bool	   *told;			/* [status]: entered by events */
	bool	   *own;			/* [status]: entered by what the saga does, not by events */
	bool	   *grows;			/* the same, over all edges that events may take at once */
	bool	   *reach;			/* the same, over any number of edges at all */
} Fact;

#define fact_cell(fact, from, to) ((from) * (fact)->status_count + (to))

/* How an event, or a transition, changes a record. */
typedef struct FactChange
{
	int			fact;
	Path	   *guard;			/* events only */
	Template   *key;			/* NULL: the record at hand, else the latest one */
	int			to;				/* NOWHERE: the status stays */
	bool		create;			/* events only: an unknown key makes a new record */
	Template   *set;			/* written when the status moves (event), always (transition) */
	Template   *note;			/* events only: written where absent, whatever the status */
	Template   *most;			/* events only: written where greater, while the status is "to" */
} FactChange;

/* An answer to a compensation after which resending it is pointless. */
typedef struct Refusal
{
	int			event;
	Path	   *guard;
} Refusal;

/* The undoing of a step: sent by "compensate". */
typedef struct Compensation
{
	const char *endpoint;
	const char *type;
	int32		schema_version; /* of the type; here and below 0: see definition_version() */
	Template   *body;
	int			confirmed_by;	/* event */
	List	   *refusals;		/* of Refusal */
} Compensation;

typedef struct SendAction
{
	const char *in_state;		/* where it stands, for problems */
	const char *on_event;
	const Tree *source;
	Path	   *condition;
	const char *step;
	Template   *attempt;
	Template   *key;			/* an existing key instead of a new one */
	const char *endpoint;
	const char *type;
	int32		schema_version;
	Template   *body;
	FactChange *fact;
	int			timer;			/* resends, NOWHERE: none */
	Backoff    *resend;
	Compensation *compensation;
	int			owed;			/* the rule that undoes it, NOWHERE: none */
} SendAction;

typedef struct PublishAction
{
	Path	   *condition;
	const char *type;
	int32		schema_version;
	Template   *body;
	Template   *key;			/* partition key */
} PublishAction;

typedef struct AppendAction
{
	Path	   *condition;
	Template   *stream;
	const char *type;
	int32		schema_version;
	Template   *data;
	Template   *expected_version;	/* NULL: any */
	bool		skip_existing;	/* do nothing if the stream has events */
} AppendAction;

typedef struct ScheduleAction
{
	Path	   *condition;
	int			timer;
	Template   *delay;			/* an interval */
	Template   *at;				/* a time */
	Backoff    *backoff;
	Template   *attempt;		/* of the backoff, from 1 */
} ScheduleAction;

typedef enum CompensateOrder
{
	COMPENSATE_REVERSE,
	COMPENSATE_FORWARD,
	COMPENSATE_PARALLEL,
	COMPENSATE_LISTED
} CompensateOrder;

typedef struct CompensateAction
{
	CompensateOrder order;
	List	   *steps;			/* names, if listed */
	Backoff    *resend;
	Tree	   *resend_source;
	int64		give_up_after;	/* milliseconds, 0: never */
	bool		stops;			/* at a step that is given up; else the next one follows */
	int			give_up;		/* state */
	int			then;			/* state */
} CompensateAction;

typedef struct Transition
{
	const Tree *source;
	bool		starts;			/* creates instances */
	const char *label;			/* why, for diagrams and history */
	Path	   *guard;
	int			each;			/* a fact: once for every record in one of the statuses */
	bool	   *in;				/* [status] */
	Registration *call;			/* of a function */
	Template   *set;
	List	   *facts;
	bool		unschedule_all;
	List	   *unschedule;		/* of int */
	List	   *sends;
	List	   *publishes;
	List	   *appends;
	List	   *schedules;
	const char *alarm;
	CompensateAction *compensate;
	int			target;			/* state, NOWHERE: stay */
} Transition;

/* What a state does about one event. */
typedef struct Reaction
{
	const char *event;
	Decision	otherwise;		/* if no transition's guard holds; UNDECIDED: the state's default */
	List	   *transitions;
} Reaction;

/* A state, or a "common" part that states include. */
typedef struct State
{
	const char *name;
	bool		final;
	Decision	otherwise;
	const char *timer;			/* "none", "owed" or NULL */
	List	   *include;		/* of State */
	List	   *on;				/* of Reaction, its own */
	List	   *own_always;		/* of Transition */
	/* Filled when everything is parsed: */
	Reaction  **reactions;		/* [event, see event_of_timer()] */
	List	   *always;			/* its own and the included ones */
} State;

typedef struct SagaEvent
{
	const char *name;
	Path	   *correlate;		/* NULL: the message's correlation id */
	List	   *facts;			/* of FactChange, alternatives */
} SagaEvent;

/* A compensation that is owed as long as a record is in one of some statuses. */
typedef struct Owed
{
	const char *name;
	int			fact;
	bool	   *in;				/* [status] */
	Path	   *guard;
	List	   *after;			/* rules (int) that must owe nothing */
	int			to;				/* status once the command is sent */
	const char *endpoint;
	const char *type;
	int32		schema_version;
	Template   *body;
	Backoff    *resend;
	int64		give_up_after;	/* milliseconds, 0: never */
	int64		then_every;		/* resends after that; 0: none */
	List	   *refusals;		/* of Refusal */
} Owed;

typedef struct Definition
{
	MemoryContext context;
	const char *name;
	int			version;
	const char *definer;		/* name of the role, as stored */
	Tree	   *document;
	Tree	   *versions;		/* of the types it names, those that were current at define() */
	const char *endpoint;
	int			initial;
	bool		uses_envelope;	/* $.envelope is read somewhere */
	int64		park_for;		/* milliseconds */
	int64		retain_for;
	List	   *events;
	List	   *timers;			/* names */
	List	   *states;
	List	   *commons;		/* of State */
	List	   *facts;
	List	   *owed;
	List	   *transitions;	/* all of them, wherever they stand */
	List	   *sends;			/* all SendActions, wherever they stand */
	List	   *calls;			/* all Registrations likewise; complete once there is a version */
	bool		broken_path;	/* something leads to nowhere: how states are reached is unknown */
	Reaction  **start;			/* [event] */
	Transition *cancel;			/* what saga.cancel() does ... */
	int			cancel_event;	/* ... or the event it stands for */
	Template   *cancel_body;
} Definition;

#define definition_event(d, i) ((SagaEvent *) list_nth((d)->events, i))
#define definition_state(d, i) ((State *) list_nth((d)->states, i))
#define definition_timer(d, i) ((const char *) list_nth((d)->timers, i))
#define definition_fact(d, i) ((Fact *) list_nth((d)->facts, i))
#define definition_owed(d, i) ((Owed *) list_nth((d)->owed, i))

/* Timers and given-up rules are events too; their indexes follow. */
#define event_of_timer(d, timer) (list_length((d)->events) + (timer))
#define event_of_give_up(d, rule) \
	(list_length((d)->events) + list_length((d)->timers) + (rule))
#define reaction_count(d) \
	(list_length((d)->events) + list_length((d)->timers) + list_length((d)->owed))

/* The timer of outstanding compensations, and the one that ends retention. */
#define TIMER_COMPENSATE 0
#define TIMER_RETAIN 1
#define TIMER_BUILT_IN 2

typedef struct Problem
{
	const char *severity;		/* error or warning */
	const char *state;
	const char *event;
	const char *problem;
} Problem;

/* definition.c */
extern int	definition_find_event(const Definition *definition, const char *name);
extern int	definition_find_state(const Definition *definition, const char *name);
extern int	definition_find_timer(const Definition *definition, const char *name);
extern int	definition_find_fact(const Definition *definition, const char *name);
extern int	definition_find_owed(const Definition *definition, const char *name);
extern const char *definition_event_name(const Definition *definition, int event);
extern char *definition_call_name(const Definition *definition, const char *signature);
extern void definition_problem(List **problems, const char *severity, const char *state,
							   const char *event, const char *format, ...)
	pg_attribute_printf(5, 6);

/* definition_parse.c */
extern Definition *definition_parse(const char *name, Jsonb *document, List **problems);
extern int	fact_find_status(const Fact *fact, const char *status);

/* version.c */
extern Tree *definition_current_versions(const Definition *definition);
extern int32 definition_version(const Definition *definition, const char *type);
extern Tree *definition_message_body(const Definition *definition, const char *type,
									 int32 schema_version, Tree *body);

/* definition_verify.c */
extern void definition_verify(const Definition *definition, List **problems);

/* definition_store.c */
extern Definition *definition_get(const char *name, int version);
extern List *definition_all_current(void);
extern Definition *definition_at(Definition *current, const char *endpoint);
extern List *definition_endpoints(void);
extern bool definition_has_moved(const char *name);
extern Definition *definition_require(const char *name);
extern void definition_cache_refresh(void);
extern bool definition_lock(const char *name, LOCKMODE mode, bool wait);
extern void definition_refuse_dropped(const Definition *definition);

/* definition_check.c */
extern void definition_check(const Definition *definition, List **problems);

/* define.c */
extern void definition_prepare_endpoint(Definition *definition);

/* diagram.c */
extern char *definition_diagram(const Definition *definition, const char *format);

#endif
