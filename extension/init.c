/*
 * init.c
 *		Entry of the library: settings, shared memory, logs, workers.
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "storage/ipc.h"

#include "event_store/event_store.h"
#include "log/registry.h"
#include "log/restore.h"
#include "log/table_log.h"
#include "message_bus/message_bus.h"
#include "pg/settings.h"
#include "worker/units.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

#ifdef COMPAT_SHMEM_REQUEST_HOOK
static shmem_request_hook_type previous_shmem_request_hook = NULL;
#endif
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

static void
request_shared_memory(void)
{
#ifdef COMPAT_SHMEM_REQUEST_HOOK
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
#endif
	registry_request();
	message_bus_request_shared_memory();
	units_request();
}

static void
start_shared_memory(void)
{
	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	registry_attach();
	message_bus_attach_shared_memory();
	units_attach();
}

/*
 * Runs in the postmaster with shared_preload_libraries, else in each backend
 * that calls one of our functions; then shared memory comes from PostgreSQL's
 * slack and no launcher runs.
 */
void
_PG_init(void)
{
	settings_define();
	restore_init();
	table_log_init();
	event_store_init();
	message_bus_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
#ifdef COMPAT_SHMEM_REQUEST_HOOK
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
#else
	request_shared_memory();
#endif
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_shared_memory;
	/* pg_upgrade puts the databases together: nothing must run in them meanwhile. */
	if (!IsBinaryUpgrade)
		worker_register_launcher();
	worker_install_utility_hook();
}
