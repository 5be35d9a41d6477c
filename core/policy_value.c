#include "policy_value.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

static bool take(struct mlb_policy_reader *reader, void *out, size_t length)
{
	if ((size_t)(reader->end - reader->at) < length)
		return false;
	memcpy(out, reader->at, length);
	reader->at += length;
	return true;
}

static bool take_u32(struct mlb_policy_reader *reader, uint32_t *ret)
{
	if (!take(reader, ret, sizeof(*ret)))
		return false;
	*ret = le32toh(*ret);
	return true;
}

static bool take_u64(struct mlb_policy_reader *reader, uint64_t *ret)
{
	if (!take(reader, ret, sizeof(*ret)))
		return false;
	*ret = le64toh(*ret);
	return true;
}

static bool take_string(struct mlb_policy_reader *reader, struct mlb_policy_token *token)
{
	uint32_t length;

	if (!take_u32(reader, &length) || length > (size_t)(reader->end - reader->at))
		return false;
	token->string.bytes = (const char *)reader->at;
	token->string.length = length;
	reader->at += length;
	return true;
}

/* Each value is at least one byte, each pair two. */
static bool take_table(struct mlb_policy_reader *reader, struct mlb_policy_token *token)
{
	if (!take_u32(reader, &token->table.items) || !take_u32(reader, &token->table.pairs))
		return false;
	return token->table.items + 2 * (uint64_t)token->table.pairs <= (uint64_t)(reader->end - reader->at);
}

int mlb_policy_next(struct mlb_policy_reader *reader, struct mlb_policy_token *ret_token)
{
	struct mlb_policy_token token;
	uint64_t bits = 0;
	bool whole = true;

	if (!take(reader, &token.tag, 1))
		return -EBADMSG;
	switch (token.tag) {
	case 'n':
	case 't':
	case 'f':
		break;
	case 'i':
		whole = take_u64(reader, &bits);
		memcpy(&token.integer, &bits, sizeof(bits));
		break;
	case 'd':
		whole = take_u64(reader, &bits);
		memcpy(&token.number, &bits, sizeof(bits));
		break;
	case 's':
		whole = take_string(reader, &token);
		break;
	case '{':
		whole = take_table(reader, &token);
		break;
	default:
		whole = false;
	}
	if (!whole)
		return -EBADMSG;
	*ret_token = token;
	return 0;
}

static bool is_key(const struct mlb_policy_token *token)
{
	return token->tag == 's' || token->tag == 'i' || (token->tag == 'd' && !isnan(token->number));
}

static bool check_value(struct mlb_policy_reader *reader, int depth, bool may_be_nil);

static bool check_table(struct mlb_policy_reader *reader, const struct mlb_policy_token *table, int depth)
{
	struct mlb_policy_token key;

	for (uint32_t i = 0; i < table->table.items; i++)
		if (!check_value(reader, depth, false))
			return false;
	for (uint32_t i = 0; i < table->table.pairs; i++)
		if (mlb_policy_next(reader, &key) < 0 || !is_key(&key) || !check_value(reader, depth, false))
			return false;
	return true;
}

static bool check_value(struct mlb_policy_reader *reader, int depth, bool may_be_nil)
{
	struct mlb_policy_token token;

	if (mlb_policy_next(reader, &token) < 0 || (token.tag == 'n' && !may_be_nil))
		return false;
	if (token.tag != '{')
		return true;
	return depth < MLB_POLICY_DEPTH_MAX && check_table(reader, &token, depth + 1);
}

int mlb_policy_check(const unsigned char *bytes, size_t length)
{
	struct mlb_policy_reader reader = { bytes, bytes + length };

	return check_value(&reader, 0, true) && reader.at == reader.end ? 0 : -EBADMSG;
}

int mlb_policy_put_raw(struct mlb_policy_writer *writer, const void *bytes, size_t length)
{
	if ((size_t)(writer->end - writer->at) < length)
		return -EMSGSIZE;
	if (length > 0)
		memcpy(writer->at, bytes, length);
	writer->at += length;
	return 0;
}

int mlb_policy_put_tag(struct mlb_policy_writer *writer, char tag)
{
	return mlb_policy_put_raw(writer, &tag, 1);
}

/* A tag and eight bytes. */
static int put_u64(struct mlb_policy_writer *writer, char tag, uint64_t bits)
{
	unsigned char packed[9] = { (unsigned char)tag };

	bits = htole64(bits);
	memcpy(packed + 1, &bits, sizeof(bits));
	return mlb_policy_put_raw(writer, packed, sizeof(packed));
}

int mlb_policy_put_integer(struct mlb_policy_writer *writer, int64_t integer)
{
	return put_u64(writer, 'i', (uint64_t)integer);
}

int mlb_policy_put_number(struct mlb_policy_writer *writer, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	return put_u64(writer, 'd', bits);
}

int mlb_policy_put_string_head(struct mlb_policy_writer *writer, size_t length)
{
	unsigned char head[MLB_POLICY_STRING_HEAD] = { 's' };
	uint32_t packed = htole32((uint32_t)length);

	memcpy(head + 1, &packed, sizeof(packed));
	return mlb_policy_put_raw(writer, head, sizeof(head));
}

int mlb_policy_put_string(struct mlb_policy_writer *writer, const char *bytes, size_t length)
{
	if (length > MLB_POLICY_FRAME_MAX || (size_t)(writer->end - writer->at) < MLB_POLICY_STRING_HEAD + length)
		return -EMSGSIZE;
	mlb_policy_put_string_head(writer, length);
	return mlb_policy_put_raw(writer, bytes, length);
}

int mlb_policy_put_table(struct mlb_policy_writer *writer, uint32_t items, uint32_t pairs)
{
	unsigned char head[9] = { '{' };

	items = htole32(items);
	pairs = htole32(pairs);
	memcpy(head + 1, &items, sizeof(items));
	memcpy(head + 5, &pairs, sizeof(pairs));
	return mlb_policy_put_raw(writer, head, sizeof(head));
}

void mlb_policy_put_header(unsigned char *frame, char type, uint32_t id)
{
	frame[0] = (unsigned char)type;
	id = htole32(id);
	memcpy(frame + 1, &id, sizeof(id));
}

int mlb_policy_open(const unsigned char *frame, size_t length, char *ret_type, uint32_t *ret_id,
		    struct mlb_policy_reader *ret_value)
{
	uint32_t id;

	if (length > MLB_POLICY_FRAME_MAX)
		return -EMSGSIZE;
	if (length < MLB_POLICY_HEADER || mlb_policy_check(frame + MLB_POLICY_HEADER, length - MLB_POLICY_HEADER) < 0)
		return -EBADMSG;
	memcpy(&id, frame + 1, sizeof(id));
	*ret_type = (char)frame[0];
	*ret_id = le32toh(id);
	ret_value->at = frame + MLB_POLICY_HEADER;
	ret_value->end = frame + length;
	return 0;
}
