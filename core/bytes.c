#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 512
#define KEPT_WHEN_EMPTY 16384

size_t mlb_bytes_length(const struct mlb_bytes *bytes)
{
	return bytes->end - bytes->start;
}

/* Room for `length` more bytes behind the content. It moves to the front when at least a quarter as much was taken since it
 * moved last, which pays for the move; else, moving too, to twice the memory. */
static int reserve(struct mlb_bytes *bytes, size_t length)
{
	size_t held = mlb_bytes_length(bytes);
	size_t allocated = bytes->allocated ? bytes->allocated : SMALLEST;
	char *data = bytes->data;

	if (length <= bytes->allocated - bytes->end)
		return 0;
	if (held + length > bytes->allocated || bytes->start < held / 4) {
		do
			allocated *= 2;
		while (allocated < held + length);
		data = malloc(allocated);
		if (!data)
			return -ENOMEM;
		bytes->allocated = allocated;
	}
	if (held)
		memmove(data, bytes->data + bytes->start, held);
	if (data != bytes->data)
		free(bytes->data);
	bytes->data = data;
	bytes->start = 0;
	bytes->end = held;
	return 0;
}

int mlb_bytes_append(struct mlb_bytes *bytes, const void *data, size_t length, size_t limit)
{
	size_t held = mlb_bytes_length(bytes);
	int err;

	if (held > limit || length > limit - held)
		return -EMSGSIZE;
	if (length == 0)
		return 0;
	err = reserve(bytes, length);
	if (err)
		return err;
	memcpy(bytes->data + bytes->end, data, length);
	bytes->end += length;
	return 0;
}

void mlb_bytes_take(struct mlb_bytes *bytes, size_t length)
{
	if (length < mlb_bytes_length(bytes)) {
		bytes->start += length;
		return;
	}
	if (bytes->allocated > KEPT_WHEN_EMPTY)
		mlb_bytes_free(bytes);
	bytes->start = 0;
	bytes->end = 0;
}

void mlb_bytes_free(struct mlb_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct mlb_bytes){ 0 };
}
