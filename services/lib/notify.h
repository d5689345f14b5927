/*
 * notify.h
 *		Tells the service manager how the daemon is doing.
 */
#ifndef SERVICES_LIB_NOTIFY_H
#define SERVICES_LIB_NOTIFY_H

/* State is as in sd_notify(3), such as "READY=1"; nothing happens without a manager. */
void		notify_manager(const char *state);

#endif
