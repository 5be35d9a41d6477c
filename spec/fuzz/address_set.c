/* libFuzzer: a sequence of operations on two sets, against an array of booleans at the edge of a 64-bit half. */
#include "../../core/address_set.c"

#include <string.h>

#define WIDTH 256

static void check(bool holds)
{
	if (!holds)
		abort();
}

static struct mlb_address address_at(int family, unsigned n)
{
	struct mlb_address address = { .family = family };

	if (family == 4)
		address.low = 0xffffffff - WIDTH + 1 + n;
	else
		address = (struct mlb_address){ .high = n >= 128, .low = UINT64_MAX - 127 + n, .family = 6 };
	return address;
}

static void check_model(const struct mlb_address_set *set, int family, const bool *model)
{
	const struct mlb_address_range *range = mlb_address_set_first(set, family);
	unsigned n = 0;

	for (; range; range = mlb_address_set_next(range)) {
		struct mlb_address address = address_at(family, n);

		while (mlb_address_compare(&address, &range->first) < 0) {
			check(!model[n]);
			address = address_at(family, ++n);
		}
		for (; n < WIDTH; n++) {
			address = address_at(family, n);
			if (mlb_address_compare(&address, &range->last) > 0)
				break;
			check(model[n]);
		}
		check(n == WIDTH || !model[n]);		/* ranges never touch */
	}
	for (; n < WIDTH; n++)
		check(!model[n]);
}

static void check_free(const struct mlb_address_set *pool, const struct mlb_address_set *taken, int family,
		       const bool *pool_model, const bool *taken_model)
{
	struct mlb_address_set scratch = { .ranges = 0 };
	struct mlb_address found, expected, address;
	bool any = false;
	uint64_t count = 0;

	for (unsigned n = WIDTH; n-- > 0;) {
		address = address_at(family, n);
		if (!pool_model[n] || taken_model[n] || mlb_address_is_ending(&address))
			continue;
		expected = address;
		any = true;
		count++;
	}
	check(mlb_address_set_free_count(pool, taken, family).low == count);
	check(mlb_address_set_union(&scratch, taken) == 0);
	check(mlb_address_set_free(pool, &scratch, family, false, &found) == any);
	check(!any || mlb_address_compare(&found, &expected) == 0);
	check(mlb_address_set_free(pool, &scratch, family, true, &found) == any);
	check(mlb_address_set_free_count(pool, &scratch, family).low == count);
	mlb_address_set_clear(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_address_set sets[2] = { { .ranges = 0 }, { .ranges = 0 } };
	bool models[2][WIDTH] = { { false }, { false } };
	int family = size > 0 && data[0] & 1 ? 6 : 4;

	for (size_t i = 1; i + 2 < size && i < 600; i += 3) {
		int which = data[i] & 1;
		bool is_add = data[i] & 2;
		unsigned low = data[i + 1] < data[i + 2] ? data[i + 1] : data[i + 2];
		unsigned high = data[i + 1] < data[i + 2] ? data[i + 2] : data[i + 1];
		struct mlb_address first = address_at(family, low), last = address_at(family, high);

		if (is_add)
			check(mlb_address_set_add(&sets[which], &first, &last) == 0);
		else
			check(mlb_address_set_remove(&sets[which], &first, &last) == 0);
		memset(models[which] + low, is_add, high - low + 1);
	}
	check_model(&sets[0], family, models[0]);
	check_model(&sets[1], family, models[1]);
	check_free(&sets[0], &sets[1], family, models[0], models[1]);
	check(mlb_address_set_subtract(&sets[0], &sets[1]) == 0);
	for (unsigned n = 0; n < WIDTH; n++)
		models[0][n] = models[0][n] && !models[1][n];
	check_model(&sets[0], family, models[0]);
	mlb_address_set_clear(&sets[0]);
	mlb_address_set_clear(&sets[1]);
	return 0;
}
