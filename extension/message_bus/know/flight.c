/*
 * flight.c
 *		What processes had in hand when the server crashed.
 *
 * When a process dies without a word (SIGSEGV, or SIGKILL by the kernel that is out
 * of memory), the postmaster ends all others and makes shared memory anew; nobody
 * could say which message it was.  So each process notes what it handles in a small
 * file in the data directory, one record per process, mapped into memory: a note is a
 * few stores, and stays in the file whatever the process dies of.
 *
 * Whoever the postmaster tells to quit because of another one's death strikes his
 * note out first.  What is left when the server comes up again has killed its
 * process.  Not, however, if all have been killed from outside, the postmaster with
 * them, and nobody was told to quit: then any of them may have used up the memory of
 * the container, or somebody has pulled the plug.  What was in hand then is a suspect.
 * The file keeps the suspects from one start to the next; one that is in hand when it
 * happens for the third time has killed its process, and so each time from then on.
 *
 * A note carries the deaths that were known before, so the count goes on even if the
 * server crashes again before a table says so.
 *
 * Lock protocol: a process writes its own record alone; the file is read and made
 * anew under AddinShmemInitLock, by whoever makes shared memory, when nobody else is
 * there.  What it has said waits in shared memory, under the lock there.
 *
 * pg_basebackup leaves the directory out.  Without the file deaths are counted as
 * long as the server survives them.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "message_bus/know/flight.h"

#define FLIGHT_FILE PG_STAT_TMP_DIR "/ecommerce_in_flight"
#define FLIGHT_MAGIC 0xEC0F1002
/* So many are remembered of a crash; one process dies of each, as a rule. */
#define CRASHED 32
/* So often a message may be in hand when all are killed at once, before it is blamed. */
#define CHANCE 2

/* A process's place in the file. */
typedef struct FlightNote
{
	volatile sig_atomic_t in_flight;
	FlightRecord record;
} FlightNote;

/* What was in hand when all processes were killed at once, and how often. */
typedef struct FlightSuspect
{
	FlightRecord record;
	int32		times;
} FlightSuspect;

typedef struct FlightFile
{
	uint32		magic;
	int32		slots;
	TimestampTz made_at;		/* tells this file from others */
	TimestampTz server_start;	/* 0: made before the server knew */
	volatile sig_atomic_t told_to_quit; /* some process was, since then */
	int32		suspect_count;
	FlightSuspect suspects[CRASHED];	/* the newest first */
	FlightNote	notes[FLEXIBLE_ARRAY_MEMBER];
} FlightFile;

typedef struct FlightShared
{
	TimestampTz made_at;
	slock_t		mutex;
	int			count;
	FlightRecord crashed[CRASHED];
} FlightShared;

static FlightShared *shared = NULL;
static FlightFile *file = NULL;
static FlightNote *mine = NULL;
static bool tried = false;
static TimestampTz made_at = 0; /* by this process */
static struct sigaction quit_before;

static int	read_file(FlightSuspect *suspects);
static bool has_crashed(const FlightFile *header);
static void blame(const FlightRecord *record);
static int	suspect(FlightSuspect *suspects, int count, const FlightRecord *record);
static void make_file(const FlightSuspect *suspects, int count);
static void map_file(void);
static void told_to_quit(int signal_number);

Size
flight_shared_size(void)
{
	return MAXALIGN(sizeof(FlightShared));
}

/*
 * Creates the part in shared memory or finds it; the caller has AddinShmemInitLock.
 */
void
flight_shared_attach(void)
{
	FlightSuspect suspects[CRASHED];
	int			count;
	bool		found;

	shared = ShmemInitStruct("ecommerce messages in flight", flight_shared_size(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(*shared));
	SpinLockInit(&shared->mutex);
	count = read_file(suspects);
	make_file(suspects, count);
}

static Size
file_size(int slots)
{
	return offsetof(FlightFile, notes) + sizeof(FlightNote) * slots;
}

/*
 * Takes what has killed its process from the file that the last run has left.  Returns
 * how many suspects there are now.
 */
static int
read_file(FlightSuspect *suspects)
{
	FlightFile	header = {0};
	FlightNote	note;
	int			fd = OpenTransientFile(FLIGHT_FILE, O_RDONLY | PG_BINARY);
	int			count = 0;

	if (fd < 0)
		return 0;
	if (read(fd, &header, offsetof(FlightFile, notes)) == offsetof(FlightFile, notes) &&
		header.magic == FLIGHT_MAGIC)
	{
		count = Min(Max(header.suspect_count, 0), CRASHED);
		memcpy(suspects, header.suspects, sizeof(FlightSuspect) * count);
		for (int i = 0; i < header.slots && read(fd, &note, sizeof(note)) == sizeof(note); i++)
		{
			if (!note.in_flight)
				continue;
			if (has_crashed(&header))
				blame(&note.record);
			else
				count = suspect(suspects, count, &note.record);
		}
	}
	CloseTransientFile(fd);
	return count;
}

static void
blame(const FlightRecord *record)
{
	if (shared->count < CRASHED)
		shared->crashed[shared->count++] = *record;
}

/*
 * Counts a message that was in hand when all processes were killed; returns how many
 * suspects there are then.  The oldest makes room.
 */
static int
suspect(FlightSuspect *suspects, int count, const FlightRecord *record)
{
	FlightSuspect newest = {*record, 1};
	int			at = 0;

	while (at < count && (memcmp(&suspects[at].record.key, &record->key,
								 sizeof(record->key)) != 0 ||
						  memcmp(&suspects[at].record.message_id, &record->message_id,
								 UUID_LEN) != 0))
		at++;
	if (at < count)
		newest.times = suspects[at].times + 1;
	else if (count < CRASHED)
		count++;
	else
		at--;
	memmove(suspects + 1, suspects, sizeof(FlightSuspect) * at);
	suspects[0] = newest;
	if (newest.times > CHANCE)
		blame(record);
	return count;
}

/*
 * Whether the server that has left the file has noticed the death of a process.  If
 * it is this one, that is why we are here.
 */
static bool
has_crashed(const FlightFile *header)
{
	return header->told_to_quit || (made_at != 0 && header->made_at == made_at) ||
		(header->server_start != 0 && header->server_start == PgStartTime);
}

/*
 * A new file, with all its blocks, so that a store into it cannot fail; not the old
 * one, should some process still have that in memory.
 */
static void
make_file(const FlightSuspect *suspects, int count)
{
	int			slots = compat_max_backends();
	Size		size = file_size(slots);
	FlightFile *empty = palloc0(size);
	int			fd;

	empty->magic = FLIGHT_MAGIC;
	empty->slots = slots;
	empty->suspect_count = count;
	memcpy(empty->suspects, suspects, sizeof(FlightSuspect) * count);
	empty->server_start = PgStartTime;
	empty->made_at = shared->made_at = made_at = GetCurrentTimestamp();
	(void) unlink(FLIGHT_FILE);
	fd = OpenTransientFile(FLIGHT_FILE, O_RDWR | O_CREAT | O_EXCL | PG_BINARY);
	if (fd < 0 || write(fd, empty, size) != (ssize_t) size)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", FLIGHT_FILE),
				 errdetail("Messages whose handlers crash the server will not be found out.")));
		(void) unlink(FLIGHT_FILE);
	}
	if (fd >= 0)
		CloseTransientFile(fd);
	pfree(empty);
}

/*
 * Maps the file into this process for good, and learns of being told to quit.
 */
static void
map_file(void)
{
	struct sigaction action;
	struct stat status;
	int			slot = MyBackendSlot();
	int			fd = OpenTransientFile(FLIGHT_FILE, O_RDWR | PG_BINARY);
	FlightFile *mapped = MAP_FAILED;

	tried = true;
	if (fd < 0)
		return;
	if (fstat(fd, &status) == 0 && status.st_size >= (off_t) file_size(slot + 1))
		mapped = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CloseTransientFile(fd);
	if (mapped == MAP_FAILED)
		return;
	if (mapped->magic != FLIGHT_MAGIC || mapped->made_at != shared->made_at ||
		slot >= mapped->slots)
	{
		(void) munmap(mapped, status.st_size);
		return;
	}
	file = mapped;
	mine = &file->notes[slot];
	mine->in_flight = 0;
	/* pqsignal() does not tell what was before, not in every version. */
	(void) sigaction(SIGQUIT, NULL, &quit_before);
	action = quit_before;
	action.sa_handler = told_to_quit;
	(void) sigaction(SIGQUIT, &action, NULL);
}

/*
 * The postmaster ends us, because another one has crashed or it is to stop at once.
 */
static void
told_to_quit(int signal_number)
{
	mine->in_flight = 0;
	file->told_to_quit = 1;
	if (quit_before.sa_handler != SIG_DFL && quit_before.sa_handler != SIG_IGN)
		quit_before.sa_handler(signal_number);
	else
		_exit(2);
}

/*
 * This process will say so if the postmaster ends it.
 */
void
flight_witness(void)
{
	if (unlikely(!tried))
		map_file();
}

/*
 * From now on this process handles that message.
 */
void
flight_begin(const FlightRecord *record)
{
	flight_witness();
	if (mine == NULL)
		return;
	mine->in_flight = 0;
	pg_compiler_barrier();
	mine->record = *record;
	pg_compiler_barrier();
	mine->in_flight = 1;
}

void
flight_end(void)
{
	if (mine != NULL)
		mine->in_flight = 0;
}

/*
 * Hands out a message of that endpoint that has killed its process when the server
 * crashed, each once.  False if there is none.
 */
bool
flight_take_crashed(const BusEndpointKey *key, FlightRecord *record)
{
	bool		found = false;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < shared->count && !found; i++)
	{
		FlightRecord *crashed = &shared->crashed[i];

		if (crashed->key.database != key->database || crashed->key.generation != key->generation ||
			crashed->key.endpoint_id != key->endpoint_id)
			continue;
		*record = *crashed;
		*crashed = shared->crashed[--shared->count];
		found = true;
	}
	SpinLockRelease(&shared->mutex);
	return found;
}
