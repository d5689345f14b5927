/*
 * debug_point.h
 *		Named places inside C where a test can stop a backend, or break it.
 *
 * DEBUG_POINT("append_after_position") waits as long as some other session
 * holds pg_advisory_lock(hashtext(name)).  Compiled out unless ECOMMERCE_DEBUG_POINTS is defined
 * (make COPT=-DECOMMERCE_DEBUG_POINTS).  DEBUG_POINT_OUTSIDE is for where no transaction is.
 *
 * DEBUG_BREAK("no_announce") is true in such a build if the server was started
 * with ECOMMERCE_BREAK=no_announce in its environment: then the code does the
 * wrong thing, and the stress tests must notice.
 *
 * DEBUG_FAIL("bus_area") is an error there, as when memory or files are at their
 * end, as long as some other session holds pg_advisory_lock(hashtext(name)).
 * DEBUG_HELD("projection_portion_over") is true as long, for what is no error.
 */
#ifndef ECOMMERCE_BASE_DEBUG_POINT_H
#define ECOMMERCE_BASE_DEBUG_POINT_H

#ifdef ECOMMERCE_DEBUG_POINTS
extern void debug_point_wait(const char *name);
extern void debug_point_wait_outside(const char *name);
extern bool debug_break(const char *name);
extern void debug_fail(const char *name);
extern bool debug_held(const char *name);
#define DEBUG_POINT(name) debug_point_wait(name)
#define DEBUG_POINT_OUTSIDE(name) debug_point_wait_outside(name)
#define DEBUG_BREAK(name) debug_break(name)
#define DEBUG_FAIL(name) debug_fail(name)
#define DEBUG_HELD(name) debug_held(name)
#else
#define DEBUG_POINT(name) ((void) 0)
#define DEBUG_POINT_OUTSIDE(name) ((void) 0)
#define DEBUG_BREAK(name) false
#define DEBUG_FAIL(name) ((void) 0)
#define DEBUG_HELD(name) false
#endif

#endif
