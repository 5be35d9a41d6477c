#include "address_set.h"

#include <errno.h>
#include <stdlib.h>

/* What comes in is const for the caller; the macros of the tree are not. */
#define TREE(set, family) ((struct mlb_address_tree *)&(set)->trees[(family) == 6])

static int compare_ranges(const struct mlb_address_range *a, const struct mlb_address_range *b)
{
	return mlb_address_compare(&a->first, &b->first);
}

/* Not RB_GENERATE_STATIC: its __unused needs the BSD headers in place of the system's. */
RB_GENERATE_INTERNAL(mlb_address_tree, mlb_address_range, node, compare_ranges, __attribute__((unused)) static)

/* The last range that starts at or before `address`. */
static struct mlb_address_range *floor_range(struct mlb_address_tree *tree, const struct mlb_address *address)
{
	struct mlb_address_range *range = RB_ROOT(tree), *found = NULL;

	while (range) {
		if (mlb_address_compare(address, &range->first) < 0) {
			range = RB_LEFT(range, node);
		} else {
			found = range;
			range = RB_RIGHT(range, node);
		}
	}
	return found;
}

/* The range that holds `address`. */
static struct mlb_address_range *find_range(struct mlb_address_tree *tree, const struct mlb_address *address)
{
	struct mlb_address_range *range = floor_range(tree, address);

	return range && mlb_address_compare(address, &range->last) <= 0 ? range : NULL;
}

/* The first range that reaches beyond `address`. */
static struct mlb_address_range *range_after(struct mlb_address_tree *tree, const struct mlb_address *address)
{
	struct mlb_address_range *range = floor_range(tree, address);

	if (!range)
		return RB_MIN(mlb_address_tree, tree);
	if (mlb_address_compare(&range->last, address) > 0)
		return range;
	return RB_NEXT(mlb_address_tree, tree, range);
}

/* The last range that starts before `address`. */
static struct mlb_address_range *range_before(struct mlb_address_tree *tree, const struct mlb_address *address)
{
	struct mlb_address_range *range = floor_range(tree, address);

	if (range && mlb_address_compare(&range->first, address) == 0)
		return RB_PREV(mlb_address_tree, tree, range);
	return range;
}

static int insert_range(struct mlb_address_set *set, const struct mlb_address *first, const struct mlb_address *last)
{
	struct mlb_address_range *range = malloc(sizeof(*range));

	if (!range)
		return -ENOMEM;
	range->first = *first;
	range->last = *last;
	RB_INSERT(mlb_address_tree, TREE(set, first->family), range);
	set->ranges++;
	return 0;
}

static void delete_range(struct mlb_address_set *set, struct mlb_address_range *range)
{
	RB_REMOVE(mlb_address_tree, TREE(set, range->first.family), range);
	set->ranges--;
	free(range);
}

int mlb_address_set_add(struct mlb_address_set *set, const struct mlb_address *first, const struct mlb_address *last)
{
	struct mlb_address_tree *tree = TREE(set, first->family);
	struct mlb_address reach;	/* one before `first`: a range that ends there is joined */
	struct mlb_address_range *range, *next;

	if (!mlb_address_previous(first, &reach))
		reach = *first;
	range = floor_range(tree, first);
	if (!range || mlb_address_compare(&range->last, &reach) < 0)
		range = range ? RB_NEXT(mlb_address_tree, tree, range) : RB_MIN(mlb_address_tree, tree);
	if (!mlb_address_next(last, &reach))
		reach = *last;
	if (!range || mlb_address_compare(&range->first, &reach) > 0)
		return insert_range(set, first, last);
	if (mlb_address_compare(first, &range->first) < 0)
		range->first = *first;
	if (mlb_address_compare(last, &range->last) > 0)
		range->last = *last;
	for (; (next = RB_NEXT(mlb_address_tree, tree, range)) != NULL; delete_range(set, next)) {
		if (mlb_address_compare(&next->first, &reach) > 0)
			break;
		if (mlb_address_compare(&next->last, &range->last) > 0)
			range->last = next->last;
	}
	return 0;
}

/* Remove a part that leaves something of the range on both sides. */
static int split_range(struct mlb_address_set *set, struct mlb_address_range *range,
		       const struct mlb_address *first, const struct mlb_address *last)
{
	struct mlb_address rest, end = range->last;
	int err;

	mlb_address_next(last, &rest);
	err = insert_range(set, &rest, &end);
	if (err < 0)
		return err;
	mlb_address_previous(first, &range->last);
	return 0;
}

int mlb_address_set_remove(struct mlb_address_set *set, const struct mlb_address *first, const struct mlb_address *last)
{
	struct mlb_address_tree *tree = TREE(set, first->family);
	struct mlb_address_range *range = floor_range(tree, first), *next;

	if (!range)
		range = RB_MIN(mlb_address_tree, tree);
	for (; range && mlb_address_compare(&range->first, last) <= 0; range = next) {
		bool is_low_kept = mlb_address_compare(&range->first, first) < 0;
		bool is_high_kept = mlb_address_compare(&range->last, last) > 0;

		next = RB_NEXT(mlb_address_tree, tree, range);
		if (mlb_address_compare(&range->last, first) < 0)
			continue;
		if (is_low_kept && is_high_kept)
			return split_range(set, range, first, last);
		if (is_low_kept)
			mlb_address_previous(first, &range->last);
		else if (is_high_kept)
			mlb_address_next(last, &range->first);
		else
			delete_range(set, range);
	}
	return 0;
}

int mlb_address_set_union(struct mlb_address_set *set, const struct mlb_address_set *other)
{
	struct mlb_address_range *range;
	int err = 0;

	for (int family = 4; family <= 6 && set != other; family += 2)
		RB_FOREACH(range, mlb_address_tree, TREE(other, family)) {
			err = mlb_address_set_add(set, &range->first, &range->last);
			if (err < 0)
				return err;
		}
	return err;
}

int mlb_address_set_subtract(struct mlb_address_set *set, const struct mlb_address_set *other)
{
	struct mlb_address_range *range;
	int err = 0;

	if (set == other)
		mlb_address_set_clear(set);
	for (int family = 4; family <= 6 && set != other; family += 2)
		RB_FOREACH(range, mlb_address_tree, TREE(other, family)) {
			err = mlb_address_set_remove(set, &range->first, &range->last);
			if (err < 0)
				return err;
		}
	return err;
}

void mlb_address_set_clear(struct mlb_address_set *set)
{
	struct mlb_address_range *range;

	for (int family = 4; family <= 6; family += 2)
		while ((range = RB_ROOT(TREE(set, family))) != NULL)
			delete_range(set, range);
}

bool mlb_address_set_intersects(const struct mlb_address_set *set, const struct mlb_address *first,
				const struct mlb_address *last)
{
	struct mlb_address_range *range = floor_range(TREE(set, last->family), last);

	return range && mlb_address_compare(&range->last, first) >= 0;
}

const struct mlb_address_range *mlb_address_set_first(const struct mlb_address_set *set, int family)
{
	return RB_MIN(mlb_address_tree, TREE(set, family));
}

const struct mlb_address_range *mlb_address_set_next(const struct mlb_address_range *range)
{
	return RB_NEXT(mlb_address_tree, NULL, (struct mlb_address_range *)range);
}

/* count += last - first + 1, stopping at the largest number. */
static void count_range(struct mlb_address_count *count, const struct mlb_address *first,
			const struct mlb_address *last)
{
	struct mlb_address_count add = { last->high - first->high - (last->low < first->low), last->low - first->low };

	add.low++;
	add.high += add.low == 0;
	count->low += add.low;
	count->high += add.high + (count->low < add.low);
	if (add.high == 0 && add.low == 0)	/* 2^128: all of IPv6 */
		*count = (struct mlb_address_count){ UINT64_MAX, UINT64_MAX };
}

struct mlb_address_count mlb_address_set_size(const struct mlb_address_set *set, int family)
{
	struct mlb_address_count count = { 0, 0 };
	struct mlb_address_range *range;

	RB_FOREACH(range, mlb_address_tree, TREE(set, family))
		count_range(&count, &range->first, &range->last);
	return count;
}

static int lowest_free(struct mlb_address_tree *pool, struct mlb_address_set *taken, int family,
		       struct mlb_address *ret_address)
{
	struct mlb_address_range *range = RB_MIN(mlb_address_tree, pool), *full;
	struct mlb_address address;
	int err;

	if (!range)
		return 0;
	address = range->first;
	while (range) {
		if (mlb_address_compare(&address, &range->first) < 0)
			address = range->first;
		full = find_range(TREE(taken, family), &address);
		if (!full && !mlb_address_is_ending(&address)) {
			*ret_address = address;
			return 1;
		}
		if (!full) {
			err = mlb_address_set_add(taken, &address, &address);
			if (err < 0)
				return err;
		} else if (mlb_address_compare(&full->last, &range->last) >= 0) {
			range = range_after(pool, &full->last);
		} else {
			mlb_address_next(&full->last, &address);
		}
	}
	return 0;
}

/* The mirror image of lowest_free. */
static int highest_free(struct mlb_address_tree *pool, struct mlb_address_set *taken, int family,
			struct mlb_address *ret_address)
{
	struct mlb_address_range *range = RB_MAX(mlb_address_tree, pool), *full;
	struct mlb_address address;
	int err;

	if (!range)
		return 0;
	address = range->last;
	while (range) {
		if (mlb_address_compare(&address, &range->last) > 0)
			address = range->last;
		full = find_range(TREE(taken, family), &address);
		if (!full && !mlb_address_is_ending(&address)) {
			*ret_address = address;
			return 1;
		}
		if (!full) {
			err = mlb_address_set_add(taken, &address, &address);
			if (err < 0)
				return err;
		} else if (mlb_address_compare(&full->first, &range->first) <= 0) {
			range = range_before(pool, &full->first);
		} else {
			mlb_address_previous(&full->first, &address);
		}
	}
	return 0;
}

int mlb_address_set_free(const struct mlb_address_set *pool, struct mlb_address_set *taken, int family,
			 bool from_end, struct mlb_address *ret_address)
{
	if (from_end)
		return highest_free(TREE(pool, family), taken, family, ret_address);
	return lowest_free(TREE(pool, family), taken, family, ret_address);
}

/* IPv4 addresses that are no endings have an index: 254 to a block of 256. How many of them are below `value`. */
static uint64_t usable_below(uint64_t value)
{
	uint64_t last = value & 0xff;

	return (value >> 8) * 254 + (last > 0 ? last - 1 : 0);
}

/* The IPv4 address of that index. */
static struct mlb_address usable_at(uint64_t index)
{
	return (struct mlb_address){ .low = index / 254 * 256 + index % 254 + 1, .family = 4 };
}

/* count += the addresses from first to last that are no endings. */
static void count_usable(struct mlb_address_count *count, const struct mlb_address *first,
			 const struct mlb_address *last)
{
	if (first->family == 4)
		count->low += usable_below(last->low + 1) - usable_below(first->low);
	else
		count_range(count, first, last);
}

/* The usable addresses of one range of a pool, less those in `taken`. */
static void count_gaps(struct mlb_address_count *count, const struct mlb_address_range *range,
		       struct mlb_address_tree *taken)
{
	struct mlb_address start = range->first, end;
	struct mlb_address_range *full = find_range(taken, &start);

	if (!full)
		full = range_after(taken, &start);
	for (; full && mlb_address_compare(&full->first, &range->last) <= 0;
	     full = RB_NEXT(mlb_address_tree, taken, full)) {
		if (mlb_address_compare(&start, &full->first) < 0) {
			mlb_address_previous(&full->first, &end);
			count_usable(count, &start, &end);
		}
		if (mlb_address_compare(&full->last, &range->last) >= 0)
			return;
		mlb_address_next(&full->last, &start);
	}
	count_usable(count, &start, &range->last);
}

struct mlb_address_count mlb_address_set_free_count(const struct mlb_address_set *pool,
						    const struct mlb_address_set *taken, int family)
{
	struct mlb_address_count count = { 0, 0 };
	struct mlb_address_range *range;

	RB_FOREACH(range, mlb_address_tree, TREE(pool, family))
		count_gaps(&count, range, TREE(taken, family));
	return count;
}

/* FNV-1a, 64 bits, then the finalizer of MurmurHash3: names that differ in one digit land far apart. */
static uint64_t hash_text(const char *text, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
	return hash ^ hash >> 33;
}

bool mlb_address_set_hash(const struct mlb_address_set *set, int family, const char *text, size_t length,
			  struct mlb_address *ret_address)
{
	struct mlb_address_count usable = { 0, 0 }, here;
	struct mlb_address_range *range;
	uint64_t index = hash_text(text, length);

	RB_FOREACH(range, mlb_address_tree, TREE(set, family))
		count_usable(&usable, &range->first, &range->last);
	if (usable.high == 0 && usable.low == 0)
		return false;
	if (usable.high == 0)	/* else any index of 64 bits is in the set */
		index %= usable.low;
	RB_FOREACH(range, mlb_address_tree, TREE(set, family)) {
		here = (struct mlb_address_count){ 0, 0 };
		count_usable(&here, &range->first, &range->last);
		if (here.high > 0 || index < here.low)
			break;
		index -= here.low;
	}
	if (family == 4) {
		*ret_address = usable_at(usable_below(range->first.low) + index);
	} else {
		*ret_address = range->first;
		ret_address->low += index;
		ret_address->high += ret_address->low < index;
	}
	return true;
}
