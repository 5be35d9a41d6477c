/* Lua patterns (Lua 5.4 reference manual, 6.4.1) with a bound on the work: backtracking can take time exponential in
 * the pattern, and nothing can interrupt it in C. Knows no Lua state. */
#ifndef MLB_POLICY_PATTERN_H
#define MLB_POLICY_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define MLB_PATTERN_CAPTURES 32		/* as LUA_MAXCAPTURES */

struct mlb_pattern_capture {
	size_t start;
	size_t length;			/* or one of: */
#define MLB_CAPTURE_OPEN SIZE_MAX	/* "(" without ")": an error for whoever wants its text */
#define MLB_CAPTURE_POSITION (SIZE_MAX - 1)	/* "()" */
};

struct mlb_pattern {
	const char *text;
	size_t text_length;
	const char *pattern;		/* without the leading '^' of an anchored one */
	size_t pattern_length;
	int64_t steps;			/* comparisons left; the caller sets it */
	const char *error;		/* why a result is -EINVAL */
	int captured;
	struct mlb_pattern_capture captures[MLB_PATTERN_CAPTURES];
};

/* Match at offset `at` of the text. 1 with the end in ret_end and the captures set; 0 no match; -EINVAL malformed
 * (see `error`); -ELOOP the pattern nests too deeply; -EDQUOT no steps left. */
int mlb_pattern_match(struct mlb_pattern *pattern, size_t at, size_t *ret_end);

#endif
