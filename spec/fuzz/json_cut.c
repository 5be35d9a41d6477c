/* libFuzzer target of core/json_cut.c: what was valid JSON is valid afterwards, is not longer, has nothing left to cut, and
 * what was no JSON does no harm. */
#include <stdint.h>
#include <stdlib.h>

#include "../../core/json_cut.c"

#define JUDGE_DEPTH 200

/* A judge of its own: RFC 8259 by recursive descent. */
struct judge {
	const char *at;
	const char *end;
	int depth;
};

static bool judge_value(struct judge *judge);

static bool take(struct judge *judge, char c)
{
	if (judge->at == judge->end || *judge->at != c)
		return false;
	judge->at++;
	return true;
}

static void take_space(struct judge *judge)
{
	while (judge->at < judge->end && strchr(" \t\n\r", *judge->at) && *judge->at)
		judge->at++;
}

static bool take_digits(struct judge *judge)
{
	const char *first = judge->at;

	while (judge->at < judge->end && *judge->at >= '0' && *judge->at <= '9')
		judge->at++;
	return judge->at > first;
}

static bool judge_number(struct judge *judge)
{
	take(judge, '-');
	if (!take(judge, '0') && !take_digits(judge))
		return false;
	if (take(judge, '.') && !take_digits(judge))
		return false;
	if (take(judge, 'e') || take(judge, 'E')) {
		if (!take(judge, '+'))
			take(judge, '-');
		return take_digits(judge);
	}
	return true;
}

static bool judge_escape(struct judge *judge)
{
	char c;

	if (judge->at == judge->end)
		return false;
	c = *judge->at++;
	if (c != 'u')
		return c && strchr("\"\\/bfnrt", c);
	for (int i = 0; i < 4; i++)
		if (judge->at == judge->end || !*judge->at || !strchr("0123456789abcdefABCDEF", *judge->at++))
			return false;
	return true;
}

static bool judge_string(struct judge *judge)
{
	if (!take(judge, '"'))
		return false;
	while (judge->at < judge->end) {
		char c = *judge->at++;

		if (c == '"')
			return true;
		if ((unsigned char)c < 0x20 || (c == '\\' && !judge_escape(judge)))
			return false;
	}
	return false;
}

static bool judge_literal(struct judge *judge, const char *word)
{
	for (; *word; word++)
		if (!take(judge, *word))
			return false;
	return true;
}

static bool judge_members(struct judge *judge, char close, bool has_names)
{
	take_space(judge);
	if (take(judge, close))
		return true;
	for (;;) {
		take_space(judge);
		if (has_names) {
			if (!judge_string(judge))
				return false;
			take_space(judge);
			if (!take(judge, ':'))
				return false;
		}
		if (!judge_value(judge))
			return false;
		if (take(judge, close))
			return true;
		if (!take(judge, ','))
			return false;
	}
}

static bool judge_value(struct judge *judge)
{
	bool ok;

	take_space(judge);
	if (judge->at == judge->end || ++judge->depth > JUDGE_DEPTH)
		return false;
	switch (*judge->at) {
	case '{':
	case '[':
		ok = *judge->at++ == '{' ? judge_members(judge, '}', true) : judge_members(judge, ']', false);
		break;
	case '"':
		ok = judge_string(judge);
		break;
	case 't':
		ok = judge_literal(judge, "true");
		break;
	case 'f':
		ok = judge_literal(judge, "false");
		break;
	case 'n':
		ok = judge_literal(judge, "null");
		break;
	default:
		ok = judge_number(judge);
	}
	judge->depth--;
	take_space(judge);
	return ok;
}

static bool is_json(const char *text, size_t length)
{
	struct judge judge = { .at = text, .end = text + length };

	return judge_value(&judge) && judge.at == judge.end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1);	/* exactly as long: the sanitizer sees a step beyond */
	bool was_json;
	size_t once, twice;

	memcpy(text, data, size);
	was_json = is_json(text, size);
	once = mlb_json_cut(text, size);
	if (once > size || (was_json && !is_json(text, once)))
		abort();
	text = realloc(text, once ? once : 1);
	twice = mlb_json_cut(text, once);
	if (was_json && twice != once)
		abort();
	free(text);
	return 0;
}
