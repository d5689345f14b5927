/*
 * settings.h
 *		Every setting of the extension, as variables.  Units stand in the names
 *		of those that have one.
 */
#ifndef ECOMMERCE_PG_SETTINGS_H
#define ECOMMERCE_PG_SETTINGS_H

extern bool setting_event_store_allow_rewrite;
extern bool setting_event_store_allow_drop;
extern int	setting_event_store_max_event_size;		/* bytes */
extern int	setting_event_store_max_metadata_size;	/* bytes */
extern int	setting_event_store_notify_interval;	/* milliseconds */
extern char *setting_ecommerce_source;
extern bool setting_ecommerce_require_registered_types;
extern char *setting_ecommerce_currency;
extern int	setting_saga_workers;
extern int	setting_ecommerce_handler_timeout;
extern int	setting_ecommerce_cell;
extern bool setting_saga_log_transitions;
extern int	setting_message_bus_max_depth;	/* messages, -1: unlimited */
extern int	setting_message_bus_max_message_size;	/* bytes */
extern int	setting_message_bus_random_seed;	/* -1: none */
extern int	setting_message_bus_dedupe_window;	/* milliseconds */
extern int	setting_message_bus_dead_letter_retention;	/* seconds, -1: for ever */
extern int	setting_message_bus_inbox_retention;	/* seconds */

extern void settings_define(void);

#endif
