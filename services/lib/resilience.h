/*
 * resilience.h
 *		Back-off, and the circuit breaker for calls to the outside.
 *
 * Pure state machines: the caller passes the time, so that tests own it.
 */
#ifndef SERVICES_LIB_RESILIENCE_H
#define SERVICES_LIB_RESILIENCE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Delay before attempt + 1, attempts counted from 0: min * 2^attempt, at most
 * max, times a factor in [0.5, 1) given as fraction in [0, 1).
 */
long		backoff_delay(int attempt, long min_ms, long max_ms, double fraction);

typedef enum BreakerState
{
	BREAKER_CLOSED,
	BREAKER_OPEN,
	BREAKER_HALF_OPEN
} BreakerState;

/* The seed's policy: window, threshold in per cent, least attempts, pause. */
typedef struct BreakerPolicy
{
	long		tracking_ms;
	int			trip_threshold;
	int			active_threshold;
	long		reset_ms;
} BreakerPolicy;

/* What was called about, by a hash of its name, and whether it failed last. */
typedef struct BreakerSubject
{
	uint64_t	name;
	bool		failed;
} BreakerSubject;

#define BREAKER_SUBJECTS 64

typedef struct Breaker
{
	BreakerPolicy policy;
	BreakerState state;
	uint64_t	window_start;	/* 0: starts with the next attempt */
	int			attempts;		/* subjects called about in the window */
	int			failures;		/* those whose last call has failed */
	BreakerSubject subjects[BREAKER_SUBJECTS];	/* the newest, in a circle */
	int			successes;		/* of probes */
	bool		probing;
	uint64_t	retry_at;
} Breaker;

void		breaker_init(Breaker *breaker, BreakerPolicy policy);
bool		breaker_allows(Breaker *breaker, uint64_t now_ms);
void		breaker_record(Breaker *breaker, uint64_t subject, bool success, uint64_t now_ms);
int			breaker_room(const Breaker *breaker, uint64_t now_ms);
const char *breaker_state_name(BreakerState state);

#endif
