/*
 * answer.h
 *		What the console answers with: rows of the database, as whoever asks.
 */
#ifndef SERVICES_CONSOLE_ANSWER_H
#define SERVICES_CONSOLE_ANSWER_H

#include "console/login.h"
#include "lib/http.h"

void		answer_start(bool actions);
Login	   *answer_login(HttpCall *call);
bool		answer_check_origin(HttpCall *call, const Login *login);
void		answer_resource(HttpCall *call);
void		answer_action(HttpCall *call);

#endif
