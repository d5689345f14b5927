/*
 * uuid_v5.c
 *		UUIDs of names.
 *
 * UUID version 5 (RFC 9562): the SHA-1 of a namespace and a name.
 */
#include "postgres.h"

#include "base/compat.h"
#include "common/cryptohash.h"

#include "pg/uuid_v5.h"

#define SHA1_LENGTH 20

void
uuid_v5(const pg_uuid_t *space, const char *name, pg_uuid_t *uuid)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA1);
	uint8		digest[SHA1_LENGTH];

	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, space->data, UUID_LEN) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) name, strlen(name)) < 0 ||
		compat_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-1");
	pg_cryptohash_free(hash);
	memcpy(uuid->data, digest, UUID_LEN);
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x50;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}
