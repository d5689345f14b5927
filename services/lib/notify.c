/*
 * notify.c
 *		Tells the service manager how the daemon is doing: sd_notify(3)'s
 *		protocol, one datagram to the socket named by NOTIFY_SOCKET.
 *
 * Written out here because it is a dozen lines, and a library would bring in a
 * service manager's worth of dependencies.
 */
#include "lib/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/text.h"

void
notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t	length;
	int			descriptor;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
		strlen(path) >= sizeof(address.sun_path))
		return;
	copy_string(address.sun_path, sizeof(address.sun_path), path);
	length = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		address.sun_path[0] = '\0';	/* an abstract socket */
	descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return;
	/* a manager that does not listen is not our concern */
	(void) !sendto(descriptor, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &address,
				   length);
	close(descriptor);
}
