/* Ordered sets of addresses of both families, as disjoint ranges that never touch, in one red-black tree a family.
 * Looking up, adding and removing a range cost O(log n) in the number of ranges. */
#ifndef MLB_ADDRESS_SET_H
#define MLB_ADDRESS_SET_H

#include <bsd/sys/tree.h>

#include "address.h"

struct mlb_address_range {
	RB_ENTRY(mlb_address_range) node;
	struct mlb_address first;
	struct mlb_address last;
};
RB_HEAD(mlb_address_tree, mlb_address_range);

/* A number of addresses. All of IPv6 is one too many for 128 bits: counts stop at 2^128 - 1. */
struct mlb_address_count {
	uint64_t high;
	uint64_t low;
};

/* All zeros is the empty set. */
struct mlb_address_set {
	struct mlb_address_tree trees[2];	/* IPv4, IPv6 */
	size_t ranges;				/* of both families */
};

/* Add or remove first to last, of one family and in order. 0 or -ENOMEM, then nothing has changed. */
int mlb_address_set_add(struct mlb_address_set *set, const struct mlb_address *first, const struct mlb_address *last);
int mlb_address_set_remove(struct mlb_address_set *set, const struct mlb_address *first, const struct mlb_address *last);

/* Add or remove all of `other`, which may be `set`. 0 or -ENOMEM, then part of it is done. */
int mlb_address_set_union(struct mlb_address_set *set, const struct mlb_address_set *other);
int mlb_address_set_subtract(struct mlb_address_set *set, const struct mlb_address_set *other);

/* Make it empty and free what it holds. */
void mlb_address_set_clear(struct mlb_address_set *set);

/* Whether any address from first to last is in the set. */
bool mlb_address_set_intersects(const struct mlb_address_set *set, const struct mlb_address *first,
				const struct mlb_address *last);

/* Ranges in order: the first one of a family, the one after; NULL at the end. */
const struct mlb_address_range *mlb_address_set_first(const struct mlb_address_set *set, int family);
const struct mlb_address_range *mlb_address_set_next(const struct mlb_address_range *range);

/* O(ranges). */
struct mlb_address_count mlb_address_set_size(const struct mlb_address_set *set, int family);

/* The lowest address (the highest, `from_end`) of `pool` that is not in `taken` and no IPv4 ending (.0, .255). Endings met
 * on the way are added to `taken`: so its full stretches merge and are stepped over in one look-up ever after, and a
 * call costs O(log n) a stretch of `pool` that is full from end to end. 1 with `*ret_address`, 0 when there is none,
 * -ENOMEM. */
int mlb_address_set_free(const struct mlb_address_set *pool, struct mlb_address_set *taken, int family,
			 bool from_end, struct mlb_address *ret_address);

/* How many addresses of `pool` are neither in `taken` nor IPv4 endings. O(log n + ranges of both inside the pool). */
struct mlb_address_count mlb_address_set_free_count(const struct mlb_address_set *pool,
						    const struct mlb_address_set *taken, int family);

/* The address that a stable hash of `text` picks among those of `set` that are no IPv4 endings; false when there is
 * none. The same for ever: a changed hash would move addresses. O(ranges). */
bool mlb_address_set_hash(const struct mlb_address_set *set, int family, const char *text, size_t length,
			  struct mlb_address *ret_address);

#endif
