/* What the pulse thread knows: addresses held or probed, interfaces, MACs of our nodes. Sorted arrays: a look-up is a
 * binary search that nobody on the wire can make slow. The loop edits a draft and hands copies to the thread. */
#ifndef MLB_PULSE_TABLE_H
#define MLB_PULSE_TABLE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

enum mlb_pulse_use {
	MLB_PULSE_HELD = 1,	/* requests for it are answered; a foreign claim is a conflict */
	MLB_PULSE_PROBED = 2,	/* not answered; a foreign claim or probe is a conflict */
};

struct mlb_pulse_entry {
	struct in6_addr address;	/* IPv4 as ::ffff:a.b.c.d */
	uint32_t index;			/* the interface on which it is used */
	uint32_t use;			/* enum mlb_pulse_use, or'ed */
};

struct mlb_heartbeat_keys;
struct mlb_pulse_sockets;
struct mlb_segment_body;

struct mlb_pulse_link {
	uint32_t index;
	uint8_t mac[MLB_MAC_SIZE];
	bool is_deaf;				/* to heartbeats */
	struct mlb_pulse_sockets *sockets;	/* shared by all copies; whoever retires the last one closes them */
	struct mlb_segment_body *body;		/* what heartbeats say, shared in the same way; NULL: none are sent */
};

struct mlb_pulse_table {
	struct mlb_pulse_entry *entries;	/* by address, then interface */
	struct mlb_pulse_link *links;		/* by interface */
	struct mlb_heartbeat_keys *keys;	/* shared in the same way; NULL: no heartbeats */
	uint8_t (*own_macs)[MLB_MAC_SIZE];	/* sorted: a node of ours is no stranger */
	size_t nentries, nlinks, nown_macs;
	size_t entries_room, links_room, own_macs_room;
};

/* Copy `table`, without spare room. NULL when out of memory. */
struct mlb_pulse_table *mlb_pulse_table_copy(const struct mlb_pulse_table *table);

/* Free what `table` points to (not the sockets); for a copy, also the table itself. */
void mlb_pulse_table_clear(struct mlb_pulse_table *table);
void mlb_pulse_table_free(struct mlb_pulse_table *table);

/* How `address` is used on interface `index`: 0 when it is not. */
uint32_t mlb_pulse_use(const struct mlb_pulse_table *table, const struct in6_addr *address, uint32_t index);
uint32_t mlb_pulse_use_ipv4(const struct mlb_pulse_table *table, struct in_addr address, uint32_t index);

/* Replace the use of `address` on `index`; 0 removes the entry. 0, -ENOMEM or -ENOSPC. */
int mlb_pulse_set_use(struct mlb_pulse_table *table, const struct in6_addr *address, uint32_t index, uint32_t use);

/* The interface's row, or NULL. */
struct mlb_pulse_link *mlb_pulse_find_link(const struct mlb_pulse_table *table, uint32_t index);

/* Add a row for an interface that has none: 0 or -ENOMEM. Or remove its row. */
int mlb_pulse_add_link(struct mlb_pulse_table *table, const struct mlb_pulse_link *link);
void mlb_pulse_remove_link(struct mlb_pulse_table *table, uint32_t index);

/* Replace the MACs of our nodes. 0, -ENOMEM or -ENOSPC. */
int mlb_pulse_replace_own_macs(struct mlb_pulse_table *table, const uint8_t (*macs)[MLB_MAC_SIZE], size_t count);
bool mlb_pulse_is_own_mac(const struct mlb_pulse_table *table, const uint8_t mac[MLB_MAC_SIZE]);

#endif
