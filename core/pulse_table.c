#include "pulse_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MOST (1u << 20)
#define OWN_MACS_MOST (1u << 16)

typedef int comparison(const void *key, const void *element);

/* The place of `key` in a sorted array: the first element that is not less. */
static size_t place_of(const void *key, const void *array, size_t count, size_t size, comparison *compare)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(key, (const char *)array + middle * size) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* `array`, moved where it has room for one element more; NULL when out of memory. */
static void *with_room(void *array, size_t count, size_t size, size_t *room)
{
	size_t wanted = *room ? *room * 2 : 16;
	void *moved;

	if (count < *room)
		return array;
	moved = realloc(array, wanted * size);
	if (moved)
		*room = wanted;
	return moved;
}

static int compare_entries(const void *key, const void *element)
{
	const struct mlb_pulse_entry *a = key, *b = element;
	int order = memcmp(&a->address, &b->address, sizeof(a->address));

	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int compare_links(const void *key, const void *element)
{
	const struct mlb_pulse_link *a = key, *b = element;

	return (a->index > b->index) - (a->index < b->index);
}

static int compare_macs(const void *key, const void *element)
{
	return memcmp(key, element, MLB_MAC_SIZE);
}

static size_t entry_place(const struct mlb_pulse_table *table, const struct mlb_pulse_entry *entry)
{
	return place_of(entry, table->entries, table->nentries, sizeof(*entry), compare_entries);
}

static bool is_entry_at(const struct mlb_pulse_table *table, size_t at, const struct mlb_pulse_entry *entry)
{
	return at < table->nentries && compare_entries(entry, &table->entries[at]) == 0;
}

uint32_t mlb_pulse_use(const struct mlb_pulse_table *table, const struct in6_addr *address, uint32_t index)
{
	struct mlb_pulse_entry entry = { .address = *address, .index = index };
	size_t at = entry_place(table, &entry);

	return is_entry_at(table, at, &entry) ? table->entries[at].use : 0;
}

uint32_t mlb_pulse_use_ipv4(const struct mlb_pulse_table *table, struct in_addr address, uint32_t index)
{
	struct in6_addr mapped = { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } } };

	memcpy(mapped.s6_addr + 12, &address, sizeof(address));
	return mlb_pulse_use(table, &mapped, index);
}

static int insert_entry(struct mlb_pulse_table *table, size_t at, const struct mlb_pulse_entry *entry)
{
	struct mlb_pulse_entry *entries;

	if (table->nentries >= ENTRIES_MOST)
		return -ENOSPC;
	entries = with_room(table->entries, table->nentries, sizeof(*entries), &table->entries_room);
	if (!entries)
		return -ENOMEM;
	memmove(entries + at + 1, entries + at, (table->nentries - at) * sizeof(*entries));
	entries[at] = *entry;
	table->entries = entries;
	table->nentries++;
	return 0;
}

int mlb_pulse_set_use(struct mlb_pulse_table *table, const struct in6_addr *address, uint32_t index, uint32_t use)
{
	struct mlb_pulse_entry entry = { .address = *address, .index = index, .use = use };
	size_t at = entry_place(table, &entry);

	if (!is_entry_at(table, at, &entry))
		return use ? insert_entry(table, at, &entry) : 0;
	if (use) {
		table->entries[at].use = use;
		return 0;
	}
	table->nentries--;
	memmove(table->entries + at, table->entries + at + 1, (table->nentries - at) * sizeof(entry));
	return 0;
}

struct mlb_pulse_link *mlb_pulse_find_link(const struct mlb_pulse_table *table, uint32_t index)
{
	struct mlb_pulse_link link = { .index = index };
	size_t at = place_of(&link, table->links, table->nlinks, sizeof(link), compare_links);

	return at < table->nlinks && table->links[at].index == index ? &table->links[at] : NULL;
}

int mlb_pulse_add_link(struct mlb_pulse_table *table, const struct mlb_pulse_link *link)
{
	size_t at = place_of(link, table->links, table->nlinks, sizeof(*link), compare_links);
	struct mlb_pulse_link *links = with_room(table->links, table->nlinks, sizeof(*links), &table->links_room);

	if (!links)
		return -ENOMEM;
	memmove(links + at + 1, links + at, (table->nlinks - at) * sizeof(*links));
	links[at] = *link;
	table->links = links;
	table->nlinks++;
	return 0;
}

void mlb_pulse_remove_link(struct mlb_pulse_table *table, uint32_t index)
{
	struct mlb_pulse_link *link = mlb_pulse_find_link(table, index);
	size_t after;

	if (!link)
		return;
	after = table->nlinks - (size_t)(link - table->links) - 1;
	memmove(link, link + 1, after * sizeof(*link));
	table->nlinks--;
}

int mlb_pulse_replace_own_macs(struct mlb_pulse_table *table, const uint8_t (*macs)[MLB_MAC_SIZE], size_t count)
{
	uint8_t (*copy)[MLB_MAC_SIZE];

	if (count > OWN_MACS_MOST)
		return -ENOSPC;
	copy = malloc(count ? count * sizeof(*copy) : 1);
	if (!copy)
		return -ENOMEM;
	if (count) {
		memcpy(copy, macs, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), compare_macs);
	}
	free(table->own_macs);
	table->own_macs = copy;
	table->nown_macs = table->own_macs_room = count;
	return 0;
}

bool mlb_pulse_is_own_mac(const struct mlb_pulse_table *table, const uint8_t mac[MLB_MAC_SIZE])
{
	size_t at = place_of(mac, table->own_macs, table->nown_macs, MLB_MAC_SIZE, compare_macs);

	return at < table->nown_macs && memcmp(table->own_macs[at], mac, MLB_MAC_SIZE) == 0;
}

/* A copy of `count` elements; never NULL for want of elements. */
static void *copy_of(const void *array, size_t count, size_t size)
{
	void *copy = malloc(count ? count * size : 1);

	if (copy && count)
		memcpy(copy, array, count * size);
	return copy;
}

struct mlb_pulse_table *mlb_pulse_table_copy(const struct mlb_pulse_table *table)
{
	struct mlb_pulse_table *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->nentries = copy->entries_room = table->nentries;
	copy->nlinks = copy->links_room = table->nlinks;
	copy->nown_macs = copy->own_macs_room = table->nown_macs;
	copy->keys = table->keys;
	copy->entries = copy_of(table->entries, table->nentries, sizeof(*table->entries));
	copy->links = copy_of(table->links, table->nlinks, sizeof(*table->links));
	copy->own_macs = copy_of(table->own_macs, table->nown_macs, sizeof(*table->own_macs));
	if (!copy->entries || !copy->links || !copy->own_macs) {
		mlb_pulse_table_free(copy);
		return NULL;
	}
	return copy;
}

void mlb_pulse_table_clear(struct mlb_pulse_table *table)
{
	free(table->entries);
	free(table->links);
	free(table->own_macs);
	memset(table, 0, sizeof(*table));
}

void mlb_pulse_table_free(struct mlb_pulse_table *table)
{
	if (!table)
		return;
	mlb_pulse_table_clear(table);
	free(table);
}
