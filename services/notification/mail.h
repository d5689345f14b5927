/*
 * mail.h
 *		A mail message in the form that SMTP carries.
 */
#ifndef SERVICES_NOTIFICATION_MAIL_H
#define SERVICES_NOTIFICATION_MAIL_H

#include "lib/text.h"

typedef struct Mail
{
	const char *from;
	const char *to;
	const char *subject;
	const char *html;
	const char *message_id;		/* without angle brackets */
	long		date;			/* seconds since 1970 */
} Mail;

bool		mail_address_valid(const char *address);
void		mail_write(Text *target, const Mail *mail);

#endif
