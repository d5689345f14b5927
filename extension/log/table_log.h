/*
 * table_log.h
 *		Positions for tables that are not ours.
 */
#ifndef ECOMMERCE_LOG_TABLE_LOG_H
#define ECOMMERCE_LOG_TABLE_LOG_H

extern void table_log_init(void);

#endif
