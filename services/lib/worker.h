/*
 * worker.h
 *		A thread that talks to a broker, and how the event loop and it talk.
 *
 * The libraries of brokers block; the event loop must not. So what talks to one has a
 * thread, which knows no database, no log and no other thread. What the two share is
 * touched under the worker's lock only.
 */
#ifndef SERVICES_LIB_WORKER_H
#define SERVICES_LIB_WORKER_H

#include <stdbool.h>
#include <event2/event.h>

typedef struct Worker Worker;

typedef struct WorkerOptions
{
	struct event_base *base;
	void		(*body) (Worker *worker, void *argument);	/* the thread */
	void		(*told) (void *argument);	/* on the loop, after worker_tell() */
	void	   *argument;
} WorkerOptions;

/* For the loop. */
Worker	   *worker_start(const WorkerOptions *options);
void		worker_wake(Worker *worker);
void		worker_stop(Worker *worker);

/* For the thread. */
void		worker_tell(Worker *worker);
bool		worker_stopping(Worker *worker);
void		worker_wait(Worker *worker, int socket, long milliseconds);
void		worker_uses(Worker *worker, int socket);

/* For both. */
void		worker_lock(Worker *worker);
void		worker_unlock(Worker *worker);

#endif
