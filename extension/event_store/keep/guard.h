/*
 * guard.h
 *		Stored events do not change and are not dropped by accident.
 */
#ifndef ECOMMERCE_EVENT_STORE_KEEP_GUARD_H
#define ECOMMERCE_EVENT_STORE_KEEP_GUARD_H

extern void guard_install(void);
extern int	guard_allow_rewrite(void);
extern void guard_forbid_rewrite(int level);

#endif
