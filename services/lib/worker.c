/*
 * worker.c
 *		A thread that talks to a broker, and how the event loop and it talk.
 *
 * Each wakes the other by a file descriptor, so that the thread can wait for its socket
 * and for the loop at once.  To stop it its socket is shut down, which ends whatever it
 * waits for there.
 */
#include "lib/worker.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/text.h"

struct Worker
{
	WorkerOptions options;
	pthread_t	thread;
	pthread_mutex_t mutex;
	int			to_thread;
	int			to_loop;
	struct event *event;
	int			socket;			/* of the thread's connection, -1: none */
	bool		stopping;
};

static void *run(void *argument);
static void on_told(evutil_socket_t socket, short what, void *argument);
static void ring(int descriptor);
static void hush(int descriptor);

/* Starts the thread; signals stay with the loop. */
Worker *
worker_start(const WorkerOptions *options)
{
	Worker	   *worker = memory_zero(1, sizeof(*worker));
	sigset_t	all;
	sigset_t	before;

	worker->options = *options;
	worker->socket = -1;
	worker->to_thread = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker->to_loop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&worker->mutex, NULL);
	worker->event = event_new(options->base, worker->to_loop, EV_READ | EV_PERSIST, on_told,
							  worker);
	event_add(worker->event, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (worker->to_thread < 0 || worker->to_loop < 0 ||
		pthread_create(&worker->thread, NULL, run, worker) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return worker;
}

static void *
run(void *argument)
{
	Worker	   *worker = argument;

	worker->options.body(worker, worker->options.argument);
	return NULL;
}

static void
on_told(evutil_socket_t socket, short what, void *argument)
{
	Worker	   *worker = argument;

	(void) what;
	hush(socket);
	worker->options.told(worker->options.argument);
}

static void
ring(int descriptor)
{
	uint64_t	one = 1;

	if (write(descriptor, &one, sizeof(one)) < 0)
		return;					/* it is rung already */
}

static void
hush(int descriptor)
{
	uint64_t	count;

	if (read(descriptor, &count, sizeof(count)) < 0)
		return;					/* it was not */
}

void
worker_wake(Worker *worker)
{
	ring(worker->to_thread);
}

void
worker_tell(Worker *worker)
{
	ring(worker->to_loop);
}

/* Ends the thread and what belongs to it; waits for that. */
void
worker_stop(Worker *worker)
{
	worker_lock(worker);
	worker->stopping = true;
	if (worker->socket >= 0)
		shutdown(worker->socket, SHUT_RDWR);
	worker_unlock(worker);
	worker_wake(worker);
	pthread_join(worker->thread, NULL);
	event_free(worker->event);
	close(worker->to_thread);
	close(worker->to_loop);
	pthread_mutex_destroy(&worker->mutex);
	free(worker);
}

bool
worker_stopping(Worker *worker)
{
	bool		stopping;

	worker_lock(worker);
	stopping = worker->stopping;
	worker_unlock(worker);
	return stopping;
}

/* Waits until the socket (-1: none) can be read, or the loop wakes it, or so long. */
void
worker_wait(Worker *worker, int socket, long milliseconds)
{
	struct pollfd wait[] = {{worker->to_thread, POLLIN, 0}, {socket, POLLIN, 0}};

	if (poll(wait, socket < 0 ? 1 : 2, (int) milliseconds) > 0 && wait[0].revents != 0)
		hush(worker->to_thread);
}

/* Which socket worker_stop() is to shut down; -1 before it is closed. */
void
worker_uses(Worker *worker, int socket)
{
	worker_lock(worker);
	worker->socket = socket;
	if (worker->stopping && socket >= 0)
		shutdown(socket, SHUT_RDWR);
	worker_unlock(worker);
}

void
worker_lock(Worker *worker)
{
	pthread_mutex_lock(&worker->mutex);
}

void
worker_unlock(Worker *worker)
{
	pthread_mutex_unlock(&worker->mutex);
}
