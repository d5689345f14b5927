/*
 * path_walk.h
 *		The common part of jsonpath, executed on trees.
 */
#ifndef ECOMMERCE_SAGA_VALUE_PATH_WALK_H
#define ECOMMERCE_SAGA_VALUE_PATH_WALK_H

#include "postgres.h"

#include "utils/jsonpath.h"

#include "saga/value/tree.h"

extern bool path_can_walk(const JsonPath *path);
extern Tree *path_walk(const JsonPath *path, Tree *root);

#endif
