#include "postgres.h"

#include "worker/worker.h"

void
worker_register_launcher(void)
{
}
