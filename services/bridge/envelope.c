/*
 * envelope.c
 *		Envelopes: as AMQP has them, and as JSON, which the database reads and writes.
 *
 * Everything that a broker may send becomes valid JSON: a body that is no text in UTF-8
 * goes as base64, what is odd in headers is repaired.  So nothing that a stranger sends
 * can be refused before it is a dead letter.
 */
#include "bridge/envelope.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Headers may hold tables in tables. */
#define MAX_DEPTH 16

/* The properties that are texts, as a table. */
typedef struct TextProperty
{
	const char *name;
	amqp_flags_t flag;
	size_t		offset;
} TextProperty;

#define PROPERTY(name, flag) \
	{ \
#name, flag, offsetof(amqp_basic_properties_t, name) \
	}

static const TextProperty text_properties[] = {
	PROPERTY(content_type, AMQP_BASIC_CONTENT_TYPE_FLAG),
	PROPERTY(content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG),
	PROPERTY(correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG),
	PROPERTY(reply_to, AMQP_BASIC_REPLY_TO_FLAG), PROPERTY(expiration, AMQP_BASIC_EXPIRATION_FLAG),
	PROPERTY(message_id, AMQP_BASIC_MESSAGE_ID_FLAG), PROPERTY(type, AMQP_BASIC_TYPE_FLAG),
	PROPERTY(user_id, AMQP_BASIC_USER_ID_FLAG), PROPERTY(app_id, AMQP_BASIC_APP_ID_FLAG)
};

static json_t *text_json_of(amqp_bytes_t bytes);
static json_t *table_json(const amqp_table_t *table, int depth);
static json_t *field_json(const amqp_field_value_t *field, int depth);
static json_t *number_json(const amqp_field_value_t *field);
static void add_body(json_t *envelope, amqp_bytes_t body);
static json_t *properties_json(const amqp_basic_properties_t *properties);
static void fill_headers(json_t *headers, amqp_pool_t *pool, amqp_table_t *table);
static void fill_field(json_t *value, amqp_pool_t *pool, amqp_field_value_t *field);

/* Adds what came from a broker, as JSON. */
void
envelope_write(Text *target, const amqp_envelope_t *envelope)
{
	const amqp_basic_properties_t *properties = &envelope->message.properties;
	json_t	   *json = json_object();
	json_t	   *headers;
	char	   *dump;

	json_object_set_new(json, "exchange", text_json_of(envelope->exchange));
	json_object_set_new(json, "routing_key", text_json_of(envelope->routing_key));
	json_object_set_new(json, "properties", properties_json(properties));
	headers = properties->_flags & AMQP_BASIC_HEADERS_FLAG ? table_json(&properties->headers, 0)
		: json_object();
	json_object_set_new(json, "headers", headers);
	add_body(json, envelope->message.body);
	if (envelope->redelivered)
		json_object_set_new(json, "redelivered", json_true());
	dump = json_dumps(json, JSON_COMPACT);
	text_add(target, dump);
	free(dump);
	json_decref(json);
}

/* A text; what is no UTF-8 in it, or a NUL, becomes a question mark or the like. */
static json_t *
text_json_of(amqp_bytes_t bytes)
{
	char	   *text = memory_string_n(bytes.bytes ? bytes.bytes : "", bytes.len);
	json_t	   *json;

	for (size_t i = 0; i < bytes.len; i++)
		if (text[i] == '\0')
			text[i] = '?';
	utf8_repair(text);
	json = json_string(text);
	free(text);
	return json ? json : json_string("");
}

static json_t *
table_json(const amqp_table_t *table, int depth)
{
	json_t	   *json = json_object();

	for (int i = 0; i < table->num_entries; i++)
	{
		json_t	   *key = text_json_of(table->entries[i].key);

		json_object_set_new(json, json_string_value(key),
							field_json(&table->entries[i].value, depth));
		json_decref(key);
	}
	return json;
}

static json_t *
field_json(const amqp_field_value_t *field, int depth)
{
	json_t	   *array;

	if (depth > MAX_DEPTH)
		return json_null();
	switch (field->kind)
	{
		case AMQP_FIELD_KIND_UTF8:
		case AMQP_FIELD_KIND_BYTES:
			return text_json_of(field->value.bytes);
		case AMQP_FIELD_KIND_TABLE:
			return table_json(&field->value.table, depth + 1);
		case AMQP_FIELD_KIND_ARRAY:
			array = json_array();
			for (int i = 0; i < field->value.array.num_entries; i++)
				json_array_append_new(array, field_json(&field->value.array.entries[i], depth + 1));
			return array;
		default:
			return number_json(field);
	}
}

static json_t *
number_json(const amqp_field_value_t *field)
{
	switch (field->kind)
	{
		case AMQP_FIELD_KIND_BOOLEAN:
			return json_boolean(field->value.boolean);
		case AMQP_FIELD_KIND_I8:
			return json_integer(field->value.i8);
		case AMQP_FIELD_KIND_U8:
			return json_integer(field->value.u8);
		case AMQP_FIELD_KIND_I16:
			return json_integer(field->value.i16);
		case AMQP_FIELD_KIND_U16:
			return json_integer(field->value.u16);
		case AMQP_FIELD_KIND_I32:
			return json_integer(field->value.i32);
		case AMQP_FIELD_KIND_U32:
			return json_integer(field->value.u32);
		case AMQP_FIELD_KIND_I64:
			return json_integer(field->value.i64);
		case AMQP_FIELD_KIND_U64:
		case AMQP_FIELD_KIND_TIMESTAMP:
			return json_integer((json_int_t) field->value.u64);
		case AMQP_FIELD_KIND_F32:
			return json_real(field->value.f32);
		case AMQP_FIELD_KIND_F64:
			return json_real(field->value.f64);
		default:
			return json_null();
	}
}

static void
add_body(json_t *envelope, amqp_bytes_t body)
{
	const char *bytes = body.bytes ? body.bytes : "";
	json_t	   *text = memchr(bytes, '\0', body.len) ? NULL : json_stringn(bytes, body.len);
	unsigned char *base64;

	if (text)
	{
		json_object_set_new(envelope, "body", text);
		return;
	}
	base64 = memory_zero(body.len / 3 * 4 + 5, 1);
	EVP_EncodeBlock(base64, (const unsigned char *) bytes, (int) body.len);
	json_object_set_new(envelope, "body_base64", json_string((const char *) base64));
	free(base64);
}

static json_t *
properties_json(const amqp_basic_properties_t *properties)
{
	json_t	   *json = json_object();

	for (size_t i = 0; i < lengthof(text_properties); i++)
	{
		const TextProperty *property = &text_properties[i];
		const char *at = (const char *) properties + property->offset;

		if (properties->_flags & property->flag)
			json_object_set_new(json, property->name, text_json_of(*(const amqp_bytes_t *) at));
	}
	if (properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG)
		json_object_set_new(json, "timestamp", json_integer((json_int_t) properties->timestamp));
	if (properties->_flags & AMQP_BASIC_PRIORITY_FLAG)
		json_object_set_new(json, "priority", json_integer(properties->priority));
	return json;
}

/*
 * The properties of an envelope that the database gave.  They point into it and into
 * the pool.
 */
void
envelope_properties(json_t *envelope, amqp_pool_t *pool, amqp_basic_properties_t *properties)
{
	json_t	   *given = json_object_get(envelope, "properties");
	json_t	   *timestamp = json_object_get(given, "timestamp");

	memset(properties, 0, sizeof(*properties));
	for (size_t i = 0; i < lengthof(text_properties); i++)
	{
		const char *text = json_string_value(json_object_get(given, text_properties[i].name));
		char	   *at = (char *) properties + text_properties[i].offset;

		if (text == NULL)
			continue;
		*(amqp_bytes_t *) at = amqp_cstring_bytes(text);
		properties->_flags |= text_properties[i].flag;
	}
	properties->delivery_mode = AMQP_DELIVERY_PERSISTENT;
	properties->_flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
	if (json_is_number(timestamp))
	{
		properties->timestamp = (uint64_t) json_number_value(timestamp);
		properties->_flags |= AMQP_BASIC_TIMESTAMP_FLAG;
	}
	fill_headers(json_object_get(envelope, "headers"), pool, &properties->headers);
	if (properties->headers.num_entries > 0)
		properties->_flags |= AMQP_BASIC_HEADERS_FLAG;
}

static void
fill_headers(json_t *headers, amqp_pool_t *pool, amqp_table_t *table)
{
	const char *key;
	json_t	   *value;
	size_t		count = json_object_size(headers);

	if (count == 0)
		return;
	table->entries = amqp_pool_alloc(pool, count * sizeof(amqp_table_entry_t));
	json_object_foreach(headers, key, value)
	{
		amqp_table_entry_t *entry = &table->entries[table->num_entries++];

		entry->key = amqp_cstring_bytes(key);
		fill_field(value, pool, &entry->value);
	}
}

static void
fill_field(json_t *value, amqp_pool_t *pool, amqp_field_value_t *field)
{
	char	   *dump;

	if (json_is_string(value))
	{
		field->kind = AMQP_FIELD_KIND_UTF8;
		field->value.bytes = amqp_cstring_bytes(json_string_value(value));
	}
	else if (json_is_boolean(value))
	{
		field->kind = AMQP_FIELD_KIND_BOOLEAN;
		field->value.boolean = json_is_true(value);
	}
	else if (json_is_integer(value))
	{
		field->kind = AMQP_FIELD_KIND_I64;
		field->value.i64 = json_integer_value(value);
	}
	else
	{
		dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		field->kind = AMQP_FIELD_KIND_UTF8;
		amqp_pool_alloc_bytes(pool, strlen(dump), &field->value.bytes);
		memcpy(field->value.bytes.bytes, dump, strlen(dump));
		free(dump);
	}
}
