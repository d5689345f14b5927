/*
 * worker.h
 *		The launcher and the worker of each database.
 */
#ifndef ECOMMERCE_WORKER_WORKER_H
#define ECOMMERCE_WORKER_WORKER_H

extern void worker_register_launcher(void);

#endif
