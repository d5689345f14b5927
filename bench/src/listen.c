/*
 * listen.c
 *	  Listens to a channel until stopped, and counts the notifications.
 *
 * Usage: listen CHANNEL
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	PGnotify   *notification;
	char	   *channel;
	char		command[256];
	long		count = 0;

	if (argc != 2)
		client_die("usage: listen CHANNEL");
	client_on_stop();
	conn = client_connect();
	channel = PQescapeIdentifier(conn, argv[1], 63);
	snprintf(command, sizeof(command), "LISTEN %s", channel);
	client_command(conn, command);
	PQfreemem(channel);
	printf("ready\n");
	fflush(stdout);

	while (!client_stop)
	{
		if (!client_wait(conn, 1000))
			continue;
		if (!PQconsumeInput(conn))
			client_die("%s", PQerrorMessage(conn));
		while ((notification = PQnotifies(conn)) != NULL)
		{
			count++;
			PQfreemem(notification);
		}
	}
	printf("notifications %ld\n", count);
	PQfinish(conn);
	return 0;
}
