/*
 * restore.h
 *		While a dump is being restored into this database.
 */
#ifndef ECOMMERCE_LOG_RESTORE_H
#define ECOMMERCE_LOG_RESTORE_H

#include "postgres.h"

extern uint32 restore_generation(void);
extern bool restore_goes_on(void);
extern void restore_refuse_writing(void);
extern void restore_check_unchanged(uint32 generation);
extern void restore_init(void);

#endif
