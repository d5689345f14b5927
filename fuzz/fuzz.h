/*
 * fuzz.h
 *		What the fuzz targets inside of a backend share.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "postgres.h"

#include "utils/jsonb.h"

#define FUZZ_MAX_PARTS 2
#define FUZZ_SEPARATOR "\n--\n"

extern MemoryContext fuzz_context;

extern Jsonb *fuzz_parse(const char *text);
extern int	fuzz_split(char *text, char **parts);

/* libFuzzer's */
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *data, size_t size));
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
extern size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
									  unsigned int seed);

#endif
