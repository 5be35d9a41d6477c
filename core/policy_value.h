/* Values on the wire between the host and the policy worker: tagged, length first, bounded. Knows no Lua.
 *
 * A value is a tag byte and what follows it (integers little-endian):
 *   'n' nil, 't' true, 'f' false, 'i' int64, 'd' IEEE double, 's' u32 length and bytes,
 *   '{' u32 items, u32 pairs, then `items` values (keys 1..items), then `pairs` times key and value.
 * A key is a string, an integer or a number that is no NaN; an item or a pair's value is never nil. */
#ifndef MLB_POLICY_VALUE_H
#define MLB_POLICY_VALUE_H

#include <stddef.h>
#include <stdint.h>

#define MLB_POLICY_FRAME_MAX (256 * 1024)	/* bytes of one message, its header included */
#define MLB_POLICY_DEPTH_MAX 32			/* tables within tables */

struct mlb_policy_reader {
	const unsigned char *at;
	const unsigned char *end;
};

struct mlb_policy_token {
	char tag;
	union {
		int64_t integer;
		double number;
		struct {
			const char *bytes;	/* within the reader's buffer */
			uint32_t length;
		} string;
		struct {
			uint32_t items, pairs;
		} table;
	};
};

/* Read one token; a table's values follow as tokens of their own. -EBADMSG: cut short, an unknown tag, or a
 * table that claims more values than bytes are left (so counts never size an allocation beyond the message). */
int mlb_policy_next(struct mlb_policy_reader *reader, struct mlb_policy_token *ret_token);

/* Whether exactly one whole value lies in `bytes`: 0 or -EBADMSG. After 0, mlb_policy_next cannot fail on it. */
int mlb_policy_check(const unsigned char *bytes, size_t length);

#define MLB_POLICY_STRING_HEAD 5	/* tag and length of a string */

struct mlb_policy_writer {
	unsigned char *at;
	unsigned char *end;
};

/* Append; -EMSGSIZE when the buffer is full (nothing is written then). */
int mlb_policy_put_tag(struct mlb_policy_writer *writer, char tag);
int mlb_policy_put_integer(struct mlb_policy_writer *writer, int64_t integer);
int mlb_policy_put_number(struct mlb_policy_writer *writer, double number);
int mlb_policy_put_string(struct mlb_policy_writer *writer, const char *bytes, size_t length);
int mlb_policy_put_string_head(struct mlb_policy_writer *writer, size_t length);	/* so many bytes are to follow */
int mlb_policy_put_table(struct mlb_policy_writer *writer, uint32_t items, uint32_t pairs);
int mlb_policy_put_raw(struct mlb_policy_writer *writer, const void *bytes, size_t length);

/* The header of a message: u8 type, u32 id; one value follows. */
#define MLB_POLICY_HEADER 5

void mlb_policy_put_header(unsigned char *frame, char type, uint32_t id);

/* Take a whole message apart: its value lies in ret_value. -EBADMSG as mlb_policy_check, -EMSGSIZE above the limit. */
int mlb_policy_open(const unsigned char *frame, size_t length, char *ret_type, uint32_t *ret_id,
		    struct mlb_policy_reader *ret_value);

#endif
