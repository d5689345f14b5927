/*
 * definition_parse.h
 *		What the parts of the definition parser share.
 *
 * The parser never stops at a fault: it notes it and goes on, so that all
 * problems of a definition are named at once.
 */
#ifndef ECOMMERCE_SAGA_DEFINITION_DEFINITION_PARSE_H
#define ECOMMERCE_SAGA_DEFINITION_DEFINITION_PARSE_H

#include "saga/definition/definition.h"

typedef struct Parser
{
	Definition *definition;
	List	  **problems;
	const char *state;			/* where we are, for problems */
	const char *event;
} Parser;

/* definition_parse.c */
extern void parse_problem(Parser *p, const char *format, ...) pg_attribute_printf(2, 3);
extern Tree *parse_json(Parser *p, Jsonb *document);
extern bool parse_is_object(Parser *p, const Tree *tree, const char *what);
extern void parse_keys(Parser *p, const Tree *object, const char *what, const char *known);
extern char *parse_text(Parser *p, const Tree *object, const char *key, bool required);
extern bool parse_flag(Parser *p, const Tree *object, const char *key);
extern int32 parse_schema_version(Parser *p, const Tree *object);
extern int64 parse_interval(Parser *p, const Tree *object, const char *key, int64 otherwise);
extern Path *parse_path(Parser *p, const Tree *object, const char *key);
extern Template *parse_template(Parser *p, const Tree *object, const char *key);
extern Backoff *parse_backoff(Parser *p, const Tree *object, const char *key);
extern int	parse_state_name(Parser *p, const Tree *object, const char *key);
extern int	parse_event_name(Parser *p, const Tree *object, const char *key);
extern int	parse_timer_name(Parser *p, const char *name);
extern char *member_name(const Tree *object, int index);
extern Tree *as_list(Tree *tree);

/* transition_parse.c */
extern Transition *parse_transition(Parser *p, const Tree *tree);
extern List *parse_transitions(Parser *p, Tree *tree);

/* fact_parse.c */
extern void parse_facts(Parser *p, const Tree *facts);
extern void parse_owed_names(Parser *p, const Tree *owed);
extern void parse_owed(Parser *p, const Tree *owed);
extern FactChange *parse_event_fact(Parser *p, const Tree *tree);
extern FactChange *parse_own_fact(Parser *p, const Tree *tree);
extern bool *parse_statuses(Parser *p, const Fact *fact, Tree *list, const char *what);
extern List *parse_refusals(Parser *p, const Tree *tree);
extern void finish_facts(Parser *p);

#endif
