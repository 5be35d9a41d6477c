/* A byte queue with a limit: appended at the end, taken from the front. */
#ifndef MLB_BYTES_H
#define MLB_BYTES_H

#include <stddef.h>

/* All zeros is an empty queue. The content is data[start .. end). */
struct mlb_bytes {
	char *data;
	size_t start;
	size_t end;
	size_t allocated;
};

/* How many bytes it holds. */
size_t mlb_bytes_length(const struct mlb_bytes *bytes);

/* Append `length` bytes. 0; -EMSGSIZE when it would then hold more than `limit`; -ENOMEM. On failure nothing changes. */
int mlb_bytes_append(struct mlb_bytes *bytes, const void *data, size_t length, size_t limit);

/* Drop `length` bytes (at most what it holds) from the front. An empty queue keeps no large memory. */
void mlb_bytes_take(struct mlb_bytes *bytes, size_t length);

/* Empty it and free its memory. */
void mlb_bytes_free(struct mlb_bytes *bytes);

#endif
