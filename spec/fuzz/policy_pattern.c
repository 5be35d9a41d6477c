/* Any pattern on any text (split at the first 0xff): the matcher ends within its steps, reads nothing outside, and what it says was
 * matched lies in the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/policy_pattern.c"

#define STEPS 100000

static void check_captures(const struct mlb_pattern *match)
{
	for (int i = 0; i < match->captured; i++) {
		const struct mlb_pattern_capture *capture = &match->captures[i];

		if (capture->start > match->text_length)
			abort();
		if (capture->length < MLB_CAPTURE_POSITION && capture->length > match->text_length - capture->start)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *split = size ? memchr(data, 0xff, size) : NULL;
	size_t length = split ? (size_t)(split - data) : size;
	/* Blocks of their own, so that a byte read past either end shows. */
	char *pattern = malloc(length), *text = malloc(split ? size - length - 1 : 0);
	struct mlb_pattern match = { .text = text, .text_length = split ? size - length - 1 : 0, .pattern = pattern,
				     .pattern_length = length, .steps = STEPS };
	size_t end;

	if (length)
		memcpy(pattern, data, length);
	if (match.text_length)
		memcpy(text, split + 1, match.text_length);
	for (size_t at = 0; at <= match.text_length && match.steps > 0; at++) {
		int result = mlb_pattern_match(&match, at, &end);

		if (result > 0 && (end < at || end > match.text_length))
			abort();
		if (result > 0)
			check_captures(&match);
		if (result == -EINVAL && !match.error)
			abort();
	}
	if (match.captured > MLB_PATTERN_CAPTURES)
		abort();
	free(pattern);
	free(text);
	return 0;
}
