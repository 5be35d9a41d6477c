#include "policy_pattern.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 200	/* as MAXCCALLS of Lua's own */

/* Positions are offsets into text and pattern. */
struct run {
	struct mlb_pattern *of;
	int depth;
};

/* One single-character item: the pattern's bytes from `first` up to `end`, and the suffix after them or 0. */
struct item {
	size_t first, end;
	char suffix;
};

static int match(struct run *run, size_t s, size_t p, size_t *ret_end);

static int malformed(struct run *run, const char *why)
{
	run->of->error = why;
	return -EINVAL;
}

static bool in_class(unsigned char c, char class)
{
	bool is;

	switch (tolower((unsigned char)class)) {
	case 'a': is = isalpha(c); break;
	case 'c': is = iscntrl(c); break;
	case 'd': is = isdigit(c); break;
	case 'g': is = isgraph(c); break;
	case 'l': is = islower(c); break;
	case 'p': is = ispunct(c); break;
	case 's': is = isspace(c); break;
	case 'u': is = isupper(c); break;
	case 'w': is = isalnum(c); break;
	case 'x': is = isxdigit(c); break;
	case 'z': is = c == 0; break;	/* out of the manual since 5.2, still in Lua */
	default: return c == (unsigned char)class;
	}
	return isupper((unsigned char)class) ? !is : is;
}

/* The offset behind a set whose '[' lies at `p`. A ']' that comes first belongs to the set. */
static int set_end(struct run *run, size_t p, size_t *ret)
{
	const char *pattern = run->of->pattern;
	size_t length = run->of->pattern_length;

	p++;
	if (p < length && pattern[p] == '^')
		p++;
	do {
		if (p >= length)
			return malformed(run, "malformed pattern (missing ']')");
		p += pattern[p] == '%' ? 2 : 1;
	} while (p >= length || pattern[p] != ']');
	*ret = p + 1;
	return 0;
}

static int read_item(struct run *run, size_t p, struct item *item)
{
	const char *pattern = run->of->pattern;
	size_t length = run->of->pattern_length;
	int result = 0;

	item->first = p;
	item->end = p + 1;
	if (pattern[p] == '%') {
		if (p + 1 >= length)
			return malformed(run, "malformed pattern (ends with '%')");
		item->end = p + 2;
	} else if (pattern[p] == '[') {
		result = set_end(run, p, &item->end);
	}
	item->suffix = result == 0 && item->end < length ? pattern[item->end] : 0;
	if (item->suffix == 0 || !strchr("*+-?", item->suffix))
		item->suffix = 0;
	return result;
}

/* Whether `c` is in the set from '[' at `first` to behind its ']' at `end`. */
static bool in_set(const struct run *run, unsigned char c, size_t first, size_t end)
{
	const char *pattern = run->of->pattern;
	size_t last = end - 1;		/* the ']' */
	size_t p = first + 1;
	bool wanted = true;

	if (p < last && pattern[p] == '^') {
		wanted = false;
		p++;
	}
	while (p < last) {
		if (pattern[p] == '%') {	/* after a range it may stand last; Lua then takes the ']' for its class */
			if (in_class(c, pattern[p + 1]))
				return wanted;
			p += 2;
		} else if (p + 2 < last && pattern[p + 1] == '-') {
			if ((unsigned char)pattern[p] <= c && c <= (unsigned char)pattern[p + 2])
				return wanted;
			p += 3;
		} else if ((unsigned char)pattern[p++] == c) {
			return wanted;
		}
	}
	return !wanted;
}

/* 1 when the text's byte at `s` is one of the item's, else 0; -EDQUOT. */
static int single(struct run *run, size_t s, const struct item *item)
{
	const char *pattern = run->of->pattern + item->first;
	unsigned char c;

	run->of->steps -= (int64_t)(item->end - item->first);
	if (run->of->steps < 0)
		return -EDQUOT;
	if (s >= run->of->text_length)
		return 0;
	c = (unsigned char)run->of->text[s];
	switch (*pattern) {
	case '.':
		return 1;
	case '%':
		return in_class(c, pattern[1]);
	case '[':
		return in_set(run, c, item->first, item->end);
	default:
		return (unsigned char)*pattern == c;
	}
}

/* As many as possible (at least `least`), then fewer until the rest matches. */
static int greedy(struct run *run, size_t s, const struct item *item, size_t least, size_t *ret_end)
{
	size_t count = 0;
	int result;

	while ((result = single(run, s + count, item)) > 0)
		count++;
	if (result < 0)
		return result;
	for (;; count--) {
		if (count < least)
			return 0;
		result = match(run, s + count, item->end + 1, ret_end);
		if (result != 0 || count == 0)
			return result;
	}
}

/* As few as possible, then more until the rest matches. */
static int lazy(struct run *run, size_t s, const struct item *item, size_t *ret_end)
{
	for (;; s++) {
		int result = match(run, s, item->end + 1, ret_end);

		if (result == 0)
			result = single(run, s, item) > 0 ? -EAGAIN : 0;
		if (run->of->steps < 0)
			return -EDQUOT;
		if (result != -EAGAIN)
			return result;
	}
}

static int open_capture(struct run *run, size_t s, size_t p, size_t *ret_end)
{
	struct mlb_pattern *of = run->of;
	bool position = p + 1 < of->pattern_length && of->pattern[p + 1] == ')';
	int result;

	if (of->captured >= MLB_PATTERN_CAPTURES)
		return malformed(run, "too many captures");
	of->captures[of->captured].start = s;
	of->captures[of->captured].length = position ? MLB_CAPTURE_POSITION : MLB_CAPTURE_OPEN;
	of->captured++;
	result = match(run, s, p + (position ? 2 : 1), ret_end);
	if (result == 0)
		of->captured--;
	return result;
}

static int close_capture(struct run *run, size_t s, size_t p, size_t *ret_end)
{
	struct mlb_pattern *of = run->of;
	int level = of->captured - 1;
	int result;

	while (level >= 0 && of->captures[level].length != MLB_CAPTURE_OPEN)
		level--;
	if (level < 0)
		return malformed(run, "invalid pattern capture");
	of->captures[level].length = s - of->captures[level].start;
	result = match(run, s, p + 1, ret_end);
	if (result == 0)
		of->captures[level].length = MLB_CAPTURE_OPEN;
	return result;
}

/* "%bxy" at `p`: 1 with the offset behind the balanced text, else 0. */
static int balanced(struct run *run, size_t s, size_t p, size_t *ret)
{
	struct mlb_pattern *of = run->of;
	size_t open = 1;

	if (p + 3 >= of->pattern_length)
		return malformed(run, "malformed pattern (missing arguments to '%b')");
	if (s >= of->text_length || of->text[s] != of->pattern[p + 2])
		return 0;
	while (++s < of->text_length) {
		if (--of->steps < 0)
			return -EDQUOT;
		if (of->text[s] == of->pattern[p + 3]) {
			if (--open == 0) {
				*ret = s + 1;
				return 1;
			}
		} else if (of->text[s] == of->pattern[p + 2]) {
			open++;
		}
	}
	return 0;
}

/* "%f[set]" at `p`: 1 with the pattern's offset behind it when the border of the set lies before `s`. */
static int frontier(struct run *run, size_t s, size_t p, size_t *ret)
{
	struct mlb_pattern *of = run->of;
	unsigned char before, after;
	int result;

	if (p + 2 >= of->pattern_length || of->pattern[p + 2] != '[')
		return malformed(run, "missing '[' after '%f' in pattern");
	result = set_end(run, p + 2, ret);
	if (result < 0)
		return result;
	before = s > 0 ? (unsigned char)of->text[s - 1] : 0;
	after = s < of->text_length ? (unsigned char)of->text[s] : 0;
	return !in_set(run, before, p + 2, *ret) && in_set(run, after, p + 2, *ret);
}

/* "%1" to "%9" at `p`: 1 with the offset behind the text when it repeats that capture. */
static int repeated(struct run *run, size_t s, size_t p, size_t *ret)
{
	struct mlb_pattern *of = run->of;
	int level = of->pattern[p + 1] - '1';
	size_t length;

	if (level < 0 || level >= of->captured || of->captures[level].length == MLB_CAPTURE_OPEN)
		return malformed(run, "invalid capture index in pattern");
	length = of->captures[level].length;
	if (length == MLB_CAPTURE_POSITION || length > of->text_length - s)
		return 0;	/* a position has no text to repeat */
	of->steps -= (int64_t)length;
	if (of->steps < 0)
		return -EDQUOT;
	if (length > 0 && memcmp(of->text + of->captures[level].start, of->text + s, length) != 0)
		return 0;
	*ret = s + length;
	return 1;
}

/* What '%' introduces besides a class: 1 with *s and *p moved on, 0 no match, 2 it is a plain item after all. */
static int special(struct run *run, size_t *s, size_t *p)
{
	struct mlb_pattern *of = run->of;
	int result;

	switch (*p + 1 < of->pattern_length ? of->pattern[*p + 1] : 0) {
	case 'b':
		result = balanced(run, *s, *p, s);
		*p += 4;
		return result;
	case 'f':
		return frontier(run, *s, *p, p);
	case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		result = repeated(run, *s, *p, s);
		*p += 2;
		return result;
	default:
		return 2;
	}
}

static int match_item(struct run *run, size_t *s, size_t *p, size_t *ret_end, bool *ret_go_on)
{
	struct item item;
	int result = read_item(run, *p, &item);

	if (result < 0)
		return result;
	switch (item.suffix) {
	case '*':
		return greedy(run, *s, &item, 0, ret_end);
	case '+':
		return greedy(run, *s, &item, 1, ret_end);
	case '-':
		return lazy(run, *s, &item, ret_end);
	case '?':
		result = single(run, *s, &item);
		if (result > 0)
			result = match(run, *s + 1, item.end + 1, ret_end);
		if (result != 0)
			return result;
		*p = item.end + 1;
		*ret_go_on = true;
		return 0;
	default:
		result = single(run, *s, &item);
		*ret_go_on = result > 0;
		*s += 1;
		*p = item.end;
		return result > 0 ? 0 : result;
	}
}

/* The pattern from `p` on against the text from `s` on. Plain items loop; what may have to be taken back recurses. */
static int match_here(struct run *run, size_t s, size_t p, size_t *ret_end)
{
	struct mlb_pattern *of = run->of;

	while (p < of->pattern_length) {
		bool go_on = false;
		int result;

		switch (of->pattern[p]) {
		case '(':
			return open_capture(run, s, p, ret_end);
		case ')':
			return close_capture(run, s, p, ret_end);
		case '$':
			if (p + 1 == of->pattern_length) {
				*ret_end = s;
				return s == of->text_length;
			}
			break;
		case '%':
			result = special(run, &s, &p);
			if (result <= 0)
				return result;
			if (result == 1)
				continue;
			break;
		}
		result = match_item(run, &s, &p, ret_end, &go_on);
		if (result != 0 || !go_on)
			return result;
	}
	*ret_end = s;
	return 1;
}

static int match(struct run *run, size_t s, size_t p, size_t *ret_end)
{
	int result;

	if (run->depth >= DEPTH_MAX)
		return -ELOOP;
	if (--run->of->steps < 0)
		return -EDQUOT;
	run->depth++;
	result = match_here(run, s, p, ret_end);
	run->depth--;
	return result;
}

int mlb_pattern_match(struct mlb_pattern *pattern, size_t at, size_t *ret_end)
{
	struct run run = { .of = pattern };

	pattern->captured = 0;
	return match(&run, at, 0, ret_end);
}
