/*
 * api.h
 *		Every SQL statement that the library sends.
 *
 * Parameters are listed with each statement; results are read by column number
 * through the enumerations.
 */
#ifndef SERVICES_LIB_API_H
#define SERVICES_LIB_API_H

#include "lib/pg.h"

extern const PgStatement api_backend;	/* its process id */
/* statement timeout, idle timeout, source: for the session, for the transaction */
extern const PgStatement api_session;
extern const PgStatement api_transaction;
/* endpoint, greatest timeout in ms: the same */
extern const PgStatement api_session_timeout;
extern const PgStatement api_transaction_timeout;
extern const PgStatement api_begin;
extern const PgStatement api_commit;
extern const PgStatement api_rollback;
extern const PgStatement api_savepoint;
extern const PgStatement api_release;
extern const PgStatement api_rollback_to;
extern const PgStatement api_set_context;	/* correlation id, user, tenant, traceparent */
extern const PgStatement api_receive;		/* endpoint, greatest number */
extern const PgStatement api_wait_message;	/* endpoint, longest interval */
extern const PgStatement api_handle;		/* delivery id */
extern const PgStatement api_ack;			/* array of delivery ids */
extern const PgStatement api_fail;			/* delivery id, code, error, retryable */
extern const PgStatement api_snooze;		/* delivery id, milliseconds, reason */
extern const PgStatement api_skip;			/* delivery id, reason */
extern const PgStatement api_send;			/* endpoint, type, body, partition key, deliver at */
extern const PgStatement api_publish;		/* type, body, partition key, deliver at */
extern const PgStatement api_redrive;		/* message id, body or null */
extern const PgStatement api_authenticate;	/* SHA-256 of an API key */
extern const PgStatement api_wait;			/* position, timeout, category; a row with the mark */
extern const PgStatement api_older_sql;		/* extension, version; a row that says which is older */
extern const PgStatement api_bus_state;		/* endpoint; a row with paused, depth, dead */

enum ReceiveColumn
{
	RECEIVE_DELIVERY_ID, RECEIVE_TYPE, RECEIVE_BODY, RECEIVE_ATTEMPT, RECEIVE_CORRELATION_ID,
	RECEIVE_TRACEPARENT, RECEIVE_USER_ID, RECEIVE_TENANT_ID, RECEIVE_AGE_MS
};

enum ClaimColumn
{
	CLAIM_WORK_ID, CLAIM_FENCE, CLAIM_OPERATION, CLAIM_REQUEST, CLAIM_CORRELATION_ID,
	CLAIM_TRACEPARENT
};

enum AuthenticateColumn
{
	AUTHENTICATE_USER_ID, AUTHENTICATE_SCOPE, AUTHENTICATE_CUSTOMER_ID, AUTHENTICATE_TENANT_ID
};

enum ReplyColumn
{
	REPLY_STATUS, REPLY_BODY, REPLY_ETAG, REPLY_LOCATION
};

/* Statements made of a name; the caller keeps them until its sessions close. */
PgStatement *api_listen_category(const char *category);
PgStatement *api_message_function(const char *function);
PgStatement *api_http_function(const char *function, int nparameters);
PgStatement *api_once_function(const char *function);
PgStatement *api_claim_function(const char *function);
PgStatement *api_settle_function(const char *function);
PgStatement *api_duty_function(const char *function);
PgStatement *api_json_function(const char *function, int nparameters);
void		api_free(PgStatement *statement);

/* Whether another attempt at the same work may end better than this one. */
bool		api_retryable(const char *sqlstate);
/* Whether the work lost a race and may be done again at once. */
bool		api_lost_race(const char *sqlstate);
/* Whether the handler is at fault, so that no message can be handled. */
bool		api_program_error(const char *sqlstate);

#endif
