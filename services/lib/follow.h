/*
 * follow.h
 *		Requests that wait for events which are not there yet.
 */
#ifndef SERVICES_LIB_FOLLOW_H
#define SERVICES_LIB_FOLLOW_H

#include "lib/http.h"
#include "lib/session.h"

typedef struct Follower Follower;

Follower   *follower_open(const SessionOptions *template, const char *category,
						  long statement_timeout_ms);
bool		follower_keeps(Follower *follower, HttpCall *call, const char *body,
						   void (*again) (HttpCall *call));
void		follower_drain(Follower *follower);
void		follower_close(Follower *follower);

#endif
