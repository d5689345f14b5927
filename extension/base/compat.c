/*
 * compat.c
 *		What differs between versions and needs more than a macro.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/compat.h"
#include "fmgr.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#ifdef COMPAT_SOFT_ERRORS
#include "nodes/miscnodes.h"
#include "utils/fmgrprotos.h"
#endif

/*
 * Reads a time as timestamptz_in() does, but answers false instead of failing.
 */
bool
compat_timestamptz_parse(char *text, TimestampTz *result)
{
#ifdef COMPAT_SOFT_ERRORS
	ErrorSaveContext soft = {T_ErrorSaveContext};
	Datum		value;

	if (!DirectInputFunctionCallSafe(timestamptz_in, text, InvalidOid, -1, (Node *) &soft, &value))
		return false;
	*result = DatumGetTimestampTz(value);
	return true;
#else
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	char		work[MAXDATELEN + MAXDATEFIELDS];
	int			count;
	int			kind;
	int			zone;
	struct pg_tm tm;
	fsec_t		fraction;

	if (ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &count) != 0 ||
		DecodeDateTime(fields, types, count, &kind, &tm, &fraction, &zone) != 0)
		return false;
	switch (kind)
	{
		case DTK_DATE:
			return tm2timestamp(&tm, fraction, &zone, result) == 0;
		case DTK_EPOCH:
			*result = SetEpochTimestamp();
			return true;
		case DTK_LATE:
			*result = DT_NOEND;
			return true;
		case DTK_EARLY:
			*result = DT_NOBEGIN;
			return true;
		default:
			return false;
	}
#endif
}

/*
 * Whether synchronous standbys are configured, as the checkpointer has read it:
 * a process that waits for them does not read the configuration again.
 */
bool
compat_sync_standbys_defined(void)
{
	volatile WalSndCtlData *shared = WalSndCtl;

#ifdef SYNC_STANDBY_DEFINED
	if (shared->sync_standbys_status & SYNC_STANDBY_INIT)
		return (shared->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0;
	return SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
#else
	return shared->sync_standbys_defined;
#endif
}

/*
 * From now on this process keeps up to so many bytes that it has no use for at the
 * moment.  By itself glibc gives memory back when a transaction of some megabytes
 * ends, and the next one pays for each page again.
 */
void
compat_keep_memory(int bytes)
{
#ifdef __GLIBC__
	(void) mallopt(M_TRIM_THRESHOLD, bytes);
	(void) mallopt(M_MMAP_THRESHOLD, bytes);
#endif
}
