/*
 * event_store.h
 *		What the rest of the library may know of the event store.
 */
#ifndef ECOMMERCE_EVENT_STORE_EVENT_STORE_H
#define ECOMMERCE_EVENT_STORE_EVENT_STORE_H

extern void event_store_init(void);

#endif
