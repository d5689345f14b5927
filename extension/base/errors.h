/*
 * errors.h
 *		SQLSTATEs of the extension, in bands by module.
 *
 * ST event store, SB subscription, MB message bus, SG saga; OR the order
 * aggregate, which is written in SQL (OR001 a rule is broken, OR002 a step is
 * refused in the order's state).  Classes that begin
 * with 0-4 or A-H belong to the SQL standard, so ours do not.
 */
#ifndef ECOMMERCE_BASE_ERRORS_H
#define ECOMMERCE_BASE_ERRORS_H

#include "utils/elog.h"

#define ERRCODE_ST_VERSION_CONFLICT		MAKE_SQLSTATE('S', 'T', '0', '0', '1')
#define ERRCODE_ST_STREAM_TOMBSTONED	MAKE_SQLSTATE('S', 'T', '0', '0', '2')
#define ERRCODE_ST_DUPLICATE_EVENT		MAKE_SQLSTATE('S', 'T', '0', '0', '3')
#define ERRCODE_ST_INVALID_EVENT		MAKE_SQLSTATE('S', 'T', '0', '0', '4')
#define ERRCODE_ST_IMMUTABLE			MAKE_SQLSTATE('S', 'T', '0', '0', '5')
#define ERRCODE_ST_COUNTER_BEHIND		MAKE_SQLSTATE('S', 'T', '0', '0', '6')
#define ERRCODE_ST_EVENTS_EXIST			MAKE_SQLSTATE('S', 'T', '0', '0', '7')
#define ERRCODE_ST_NO_HANDLER			MAKE_SQLSTATE('S', 'T', '0', '1', '0')
#define ERRCODE_ST_NO_AGGREGATE			MAKE_SQLSTATE('S', 'T', '0', '1', '1')
#define ERRCODE_ST_NO_PROJECTION		MAKE_SQLSTATE('S', 'T', '0', '1', '2')
#define ERRCODE_ST_NO_SINK				MAKE_SQLSTATE('S', 'T', '0', '1', '3')
#define ERRCODE_ST_PROJECTION_MOVED		MAKE_SQLSTATE('S', 'T', '0', '2', '0')
#define ERRCODE_ST_SOURCE_LOST			MAKE_SQLSTATE('S', 'T', '0', '2', '1')

#define ERRCODE_SB_NO_SUBSCRIPTION		MAKE_SQLSTATE('S', 'B', '0', '0', '1')
#define ERRCODE_SB_NOT_FETCHED			MAKE_SQLSTATE('S', 'B', '0', '0', '2')
#define ERRCODE_SB_INVALID_CHECKPOINT	MAKE_SQLSTATE('S', 'B', '0', '0', '3')

#define ERRCODE_MB_NO_ENDPOINT			MAKE_SQLSTATE('M', 'B', '0', '0', '1')
#define ERRCODE_MB_DEPTH_EXCEEDED		MAKE_SQLSTATE('M', 'B', '0', '0', '2')
#define ERRCODE_MB_STALE_DELIVERY		MAKE_SQLSTATE('M', 'B', '0', '0', '3')
#define ERRCODE_MB_ENDPOINT_IN_USE		MAKE_SQLSTATE('M', 'B', '0', '0', '4')
#define ERRCODE_MB_INVALID_MESSAGE		MAKE_SQLSTATE('M', 'B', '0', '0', '5')

#define ERRCODE_MB_FORWARDED			MAKE_SQLSTATE('M', 'B', '0', '0', '6')
#define ERRCODE_MB_LANE_MOVED			MAKE_SQLSTATE('M', 'B', '0', '0', '7')
#define ERRCODE_MB_SOURCE_LOST			MAKE_SQLSTATE('M', 'B', '0', '0', '8')
#define ERRCODE_MB_TARGET_BEHIND		MAKE_SQLSTATE('M', 'B', '0', '0', '9')
#define ERRCODE_MB_NO_LINK				MAKE_SQLSTATE('M', 'B', '0', '1', '0')
#define ERRCODE_MB_NO_BRIDGE			MAKE_SQLSTATE('M', 'B', '0', '1', '1')

#define ERRCODE_SG_NO_INSTANCE			MAKE_SQLSTATE('S', 'G', '0', '0', '1')
#define ERRCODE_SG_VERSION_CONFLICT		MAKE_SQLSTATE('S', 'G', '0', '0', '2')
#define ERRCODE_SG_INSTANCE_EXISTS		MAKE_SQLSTATE('S', 'G', '0', '0', '3')
#define ERRCODE_SG_UNDEFINED			MAKE_SQLSTATE('S', 'G', '0', '0', '4')
#define ERRCODE_SG_TEMPLATE				MAKE_SQLSTATE('S', 'G', '0', '0', '5')
#define ERRCODE_SG_NO_TIMER				MAKE_SQLSTATE('S', 'G', '0', '0', '6')
#define ERRCODE_SG_INVALID_DEFINITION	MAKE_SQLSTATE('S', 'G', '0', '1', '0')
#define ERRCODE_SG_IN_USE				MAKE_SQLSTATE('S', 'G', '0', '1', '1')

/* For functions that only report; PostgreSQL has another word for it from 18 on. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

#endif
