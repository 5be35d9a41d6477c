#include "json_cut.h"

#include <stdbool.h>
#include <string.h>

#define MAX_DEPTH 1000

enum context {
	IN_ANYTHING,
	IN_METADATA,	/* the object that is the value of a member `metadata` */
	IN_ANNOTATIONS,	/* and the one of its member `annotations` */
};

/* Text moves from `next` to `write` in runs: [run, next) has been read and not moved yet. */
struct cutter {
	char *start;
	char *write;
	const char *run;
	const char *next;
	const char *end;
	unsigned char contexts[MAX_DEPTH];
	size_t depth;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* Behind the closing quote of the string that opens at `at`; NULL when it has none. */
static const char *skip_string(const char *at, const char *end)
{
	const char *first = at + 1;

	for (at = first; (at = memchr(at, '"', (size_t)(end - at))); at++) {
		const char *slash = at;

		while (slash > first && slash[-1] == '\\')
			slash--;
		if ((at - slash) % 2 == 0)
			return at + 1;
	}
	return NULL;
}

/* Behind the value that begins at `at`; NULL when it does not end. Brackets are counted, not matched: in JSON that is the same. */
static const char *skip_value(const char *at, const char *end)
{
	size_t depth = 0;

	while (at < end) {
		char c = *at;

		if (c == '"') {
			at = skip_string(at, end);
			if (!at || depth == 0)
				return at;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c)))
			return at;	/* a number or a literal ended */
		at++;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return at;
	}
	return NULL;
}

static bool equals(const char *name, const char *end, const char *expected)
{
	size_t length = strlen(expected);

	return (size_t)(end - name) == length && memcmp(name, expected, length) == 0;
}

static void move_run(struct cutter *cutter, const char *until)
{
	size_t length = (size_t)(until - cutter->run);

	if (cutter->write != cutter->run)
		memmove(cutter->write, cutter->run, length);
	cutter->write += length;
	cutter->run = until;
}

/* Leave out the member from `name` to `value_end` with one of the commas beside it. */
static void cut_member(struct cutter *cutter, const char *name, const char *value_end)
{
	const char *after = skip_space(value_end, cutter->end);

	move_run(cutter, name);
	if (after < cutter->end && *after == ',') {
		after = skip_space(after + 1, cutter->end);
	} else {
		char *before = cutter->write;	/* the last member: the comma before it goes, if a member stands there */

		while (before > cutter->start && is_space(before[-1]))
			before--;
		if (before > cutter->start && before[-1] == ',')
			cutter->write = before - 1;
	}
	cutter->run = after;
	cutter->next = after;
}

/* What an object is that stands as member `name` in `context`. */
static enum context child_context(enum context context, const char *name, const char *name_end)
{
	if (context == IN_METADATA && equals(name, name_end, "annotations"))
		return IN_ANNOTATIONS;
	return equals(name, name_end, "metadata") ? IN_METADATA : IN_ANYTHING;
}

static bool is_unwanted(enum context context, const char *name, const char *name_end)
{
	return (context == IN_METADATA && equals(name, name_end, "managedFields")) ||
	       (context == IN_ANNOTATIONS &&
		equals(name, name_end, "kubectl.kubernetes.io/last-applied-configuration"));
}

static bool open_bracket(struct cutter *cutter, enum context context)
{
	if (cutter->depth == MAX_DEPTH)
		return false;
	cutter->contexts[cutter->depth++] = (unsigned char)context;
	cutter->next++;
	return true;
}

/* At a quote: a string, or a member's name. False: give up. */
static bool read_string(struct cutter *cutter)
{
	const char *name = cutter->next;
	const char *name_end = skip_string(name, cutter->end);
	const char *value;
	enum context context;

	if (!name_end)
		return false;
	cutter->next = name_end;
	value = skip_space(name_end, cutter->end);
	if (value == cutter->end || *value != ':' || cutter->depth == 0)
		return true;
	value = skip_space(value + 1, cutter->end);
	context = cutter->contexts[cutter->depth - 1];
	if (is_unwanted(context, name + 1, name_end - 1)) {
		const char *value_end = skip_value(value, cutter->end);

		if (!value_end)
			return false;
		cut_member(cutter, name, value_end);
		return true;
	}
	cutter->next = value;
	if (value < cutter->end && *value == '{')
		return open_bracket(cutter, child_context(context, name + 1, name_end - 1));
	return true;
}

/* One step over the next character or string. False: give up. */
static bool step(struct cutter *cutter)
{
	switch (*cutter->next) {
	case '"':
		return read_string(cutter);
	case '{':
	case '[':
		return open_bracket(cutter, IN_ANYTHING);
	case '}':
	case ']':
		if (cutter->depth == 0)
			return false;
		cutter->depth--;
		break;
	default:
		break;
	}
	cutter->next++;
	return true;
}

size_t mlb_json_cut(char *text, size_t length)
{
	struct cutter cutter;

	cutter.start = text;
	cutter.write = text;
	cutter.run = text;
	cutter.next = text;
	cutter.end = text + length;
	cutter.depth = 0;
	while (cutter.next < cutter.end && step(&cutter))
		;
	move_run(&cutter, cutter.end);
	return (size_t)(cutter.write - cutter.start);
}
