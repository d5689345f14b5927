/*
 * courier.c
 *		Who brings events to a target: a thread, one thing at a time.
 *
 * The libraries of brokers block, the event loop must not.  While the thread is about
 * something, parcel and place are the thread's; the loop gets them back with done().
 */
#include "stream/courier.h"

#include <stdlib.h>

#include "lib/text.h"

typedef enum Errand
{
	ERRAND_NONE,
	ERRAND_CONNECT,
	ERRAND_PUBLISH,
	ERRAND_DISCONNECT
} Errand;

struct Courier
{
	CourierOptions options;
	Worker	   *worker;
	/* Shared; under the lock. */
	Errand		errand;
	const Parcel *parcel;
	bool		ready;			/* done() is due */
	char		trouble[TARGET_ERROR];
	/* Whose turn it is. */
	Place		place;
	/* The thread's own. */
	void	   *target;
};

static void run(Worker *worker, void *argument);
static void on_told(void *argument);
static void send_out(Courier *courier, Errand errand, const Parcel *parcel);
static bool do_errand(Courier *courier, Errand errand, const Parcel *parcel, char *error);
static void leave_target(Courier *courier);

Courier *
courier_open(const CourierOptions *options)
{
	Courier    *courier = memory_zero(1, sizeof(*courier));
	WorkerOptions worker = {options->base, run, on_told, courier};

	courier->options = *options;
	courier->worker = worker_start(&worker);
	return courier;
}

/* Opens the target, anew if it is open, and reads its place; done() follows. */
void
courier_connect(Courier *courier)
{
	send_out(courier, ERRAND_CONNECT, NULL);
}

/* The place that was read, until the next errand. */
const Place *
courier_place(const Courier *courier)
{
	return &courier->place;
}

/* The parcel must be left alone until done(). */
void
courier_publish(Courier *courier, const Parcel *parcel)
{
	send_out(courier, ERRAND_PUBLISH, parcel);
}

/* Leaves the target to others; done() follows. */
void
courier_disconnect(Courier *courier)
{
	send_out(courier, ERRAND_DISCONNECT, NULL);
}

void
courier_close(Courier *courier)
{
	worker_stop(courier->worker);
	free(courier);
}

static void
send_out(Courier *courier, Errand errand, const Parcel *parcel)
{
	worker_lock(courier->worker);
	courier->errand = errand;
	courier->parcel = parcel;
	worker_unlock(courier->worker);
	worker_wake(courier->worker);
}

static void
on_told(void *argument)
{
	Courier    *courier = argument;
	char		trouble[TARGET_ERROR];
	bool		ready;

	worker_lock(courier->worker);
	ready = courier->ready;
	courier->ready = false;
	copy_string(trouble, sizeof(trouble), courier->trouble);
	worker_unlock(courier->worker);
	if (ready)
		courier->options.done(courier->options.argument, trouble[0] ? trouble : NULL);
}

/* The thread. */
static void
run(Worker *worker, void *argument)
{
	Courier    *courier = argument;

	courier->options.target.worker = worker;
	while (!worker_stopping(worker))
	{
		char		error[TARGET_ERROR] = "";
		const Parcel *parcel;
		Errand		errand;

		worker_lock(worker);
		errand = courier->errand;
		parcel = courier->parcel;
		courier->errand = ERRAND_NONE;
		worker_unlock(worker);
		if (errand == ERRAND_NONE)
		{
			worker_wait(worker, -1, -1);
			continue;
		}
		if (!do_errand(courier, errand, parcel, error))
			leave_target(courier);
		worker_lock(worker);
		courier->ready = true;
		copy_string(courier->trouble, sizeof(courier->trouble), error);
		worker_unlock(worker);
		worker_tell(worker);
	}
	leave_target(courier);
}

static bool
do_errand(Courier *courier, Errand errand, const Parcel *parcel, char *error)
{
	const TargetKind *kind = courier->options.kind;

	if (errand == ERRAND_PUBLISH)
		return kind->publish(courier->target, parcel, error);
	leave_target(courier);
	if (errand == ERRAND_DISCONNECT)
		return true;
	courier->place = (Place) {0};
	courier->target = kind->open(&courier->options.target, &courier->place, error);
	return courier->target != NULL;
}

static void
leave_target(Courier *courier)
{
	if (courier->target)
		courier->options.kind->close(courier->target);
	courier->target = NULL;
}
