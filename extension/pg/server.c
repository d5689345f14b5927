/*
 * server.c
 *		What the server knows of itself and does not show everybody: since when
 *		sessions are in a transaction and what they wait for, and how much room
 *		there is on the disks.
 *
 * For views of those who keep watch and are no members of pg_monitor.  Nothing of
 * what a session has typed is given out.  Locks nothing, keeps nothing.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "catalog/pg_tablespace_d.h"
#include "fmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "pg/result.h"

static void put_session(SetResult *result, const LocalPgBackendStatus *session);
static const char *state_name(BackendState state);
static const char *tablespace_path(Oid tablespace);

PG_FUNCTION_INFO_V1(ecommerce_sessions);
/*
 * ecommerce._sessions(): who is connected to any database.
 */
Datum
ecommerce_sessions(PG_FUNCTION_ARGS)
{
	SetResult	result;
	int			count = pgstat_fetch_stat_numbackends();

	result_begin(fcinfo, &result);
	for (int i = 1; i <= count; i++)
	{
		const LocalPgBackendStatus *session = compat_session(i);

		if (session != NULL && session->backendStatus.st_procpid > 0 &&
			OidIsValid(session->backendStatus.st_databaseid))
			put_session(&result, session);
	}
	return (Datum) 0;
}

static void
put_session(SetResult *result, const LocalPgBackendStatus *session)
{
	const PgBackendStatus *status = &session->backendStatus;
	PGPROC	   *proc = BackendPidGetProc(status->st_procpid);
	const char *type = NULL;
	const char *event = NULL;
	Datum		values[9];
	bool		nulls[9] = {false};

	if (proc != NULL)
	{
		uint32		info = *(volatile uint32 *) &proc->wait_event_info;

		type = pgstat_get_wait_event_type(info);
		event = pgstat_get_wait_event(info);
	}
	values[0] = Int32GetDatum(status->st_procpid);
	values[1] = ObjectIdGetDatum(status->st_databaseid);
	values[2] = CStringGetTextDatum(GetBackendTypeDesc(status->st_backendType));
	values[3] = CStringGetTextDatum(state_name(status->st_state));
	values[4] = TimestampTzGetDatum(status->st_state_start_timestamp);
	nulls[4] = status->st_state_start_timestamp == 0;
	values[5] = TimestampTzGetDatum(status->st_xact_start_timestamp);
	nulls[5] = status->st_xact_start_timestamp == 0;
	values[6] = BoolGetDatum(TransactionIdIsValid(session->backend_xmin) ||
							 TransactionIdIsValid(session->backend_xid));
	nulls[7] = type == NULL;
	values[7] = nulls[7] ? (Datum) 0 : CStringGetTextDatum(type);
	nulls[8] = event == NULL;
	values[8] = nulls[8] ? (Datum) 0 : CStringGetTextDatum(event);
	result_put(result, values, nulls);
}

static const char *
state_name(BackendState state)
{
	switch (state)
	{
		case STATE_IDLEINTRANSACTION:
		case STATE_IDLEINTRANSACTION_ABORTED:
			return "idle in transaction";
		case STATE_IDLE:
			return "idle";
		default:
			return "active";
	}
}

PG_FUNCTION_INFO_V1(ecommerce_disk_space);
/*
 * ecommerce._disk_space(tablespace): of the disk that it is on; 0 is the WAL.
 */
Datum
ecommerce_disk_space(PG_FUNCTION_ARGS)
{
	const char *path = tablespace_path(PG_GETARG_OID(0));
	struct stat file;
	struct statvfs disk;
	TupleDesc	descriptor = result_row_type(fcinfo);
	Datum		values[3];
	bool		nulls[3] = {false};

	if (stat(path, &file) != 0 || statvfs(path, &disk) != 0)
		PG_RETURN_NULL();
	values[0] = Int64GetDatum((int64) file.st_dev);
	values[1] = Int64GetDatum((int64) disk.f_bavail * (int64) disk.f_frsize);
	values[2] = Int64GetDatum((int64) disk.f_blocks * (int64) disk.f_frsize);
	return result_row(descriptor, values, nulls);
}

/* Where it is, from the data directory, in which every server process is. */
static const char *
tablespace_path(Oid tablespace)
{
	if (tablespace == InvalidOid)
		return "pg_wal";
	if (tablespace == DEFAULTTABLESPACE_OID)
		return "base";
	if (tablespace == GLOBALTABLESPACE_OID)
		return "global";
	return psprintf("pg_tblspc/%u", tablespace);
}
