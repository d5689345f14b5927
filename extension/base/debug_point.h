/*
 * debug_point.h
 *		Named places inside C where a test can stop a backend.
 *
 * DEBUG_POINT("append_after_position") waits as long as some other session
 * holds pg_advisory_lock(hashtext(name)).  Compiled out unless ECOMMERCE_DEBUG_POINTS is defined
 * (make COPT=-DECOMMERCE_DEBUG_POINTS).
 */
#ifndef ECOMMERCE_BASE_DEBUG_POINT_H
#define ECOMMERCE_BASE_DEBUG_POINT_H

#ifdef ECOMMERCE_DEBUG_POINTS
extern void debug_point_wait(const char *name);
#define DEBUG_POINT(name) debug_point_wait(name)
#else
#define DEBUG_POINT(name) ((void) 0)
#endif

#endif
