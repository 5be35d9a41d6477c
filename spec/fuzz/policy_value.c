/* Any bytes as a message from the worker: what policy_value.c accepts is walked to its end, is written again byte for byte where it
 * is in the form that we write, and becomes Lua values of bounded size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/policy_value.c"

/* Read what was accepted: mlb_policy_next never fails on it, and stops at the end. */
static void walk(struct mlb_policy_reader *reader, struct mlb_policy_writer *writer, unsigned *values)
{
	struct mlb_policy_token token;

	if (mlb_policy_next(reader, &token) < 0)
		abort();
	++*values;
	switch (token.tag) {
	case 'i':
		mlb_policy_put_integer(writer, token.integer);
		break;
	case 'd':
		mlb_policy_put_number(writer, token.number);
		break;
	case 's':
		mlb_policy_put_string(writer, token.string.bytes, token.string.length);
		break;
	case '{':
		mlb_policy_put_table(writer, token.table.items, token.table.pairs);
		for (uint64_t i = 0; i < token.table.items + 2 * (uint64_t)token.table.pairs; i++)
			walk(reader, writer, values);
		break;
	default:
		mlb_policy_put_tag(writer, token.tag);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char again[MLB_POLICY_FRAME_MAX];
	struct mlb_policy_writer writer = { again, again + sizeof(again) };
	struct mlb_policy_reader value;
	unsigned values = 0;
	uint32_t id;
	char type;

	if (mlb_policy_open(data, size, &type, &id, &value) < 0)
		return 0;
	walk(&value, &writer, &values);
	if (value.at != value.end || values > size)
		abort();
	if ((size_t)(writer.at - again) != size - MLB_POLICY_HEADER || memcmp(again, data + MLB_POLICY_HEADER, size - MLB_POLICY_HEADER))
		abort();
	return 0;
}
