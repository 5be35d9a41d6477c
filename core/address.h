/* IPv4 and IPv6 addresses: strict text forms, order, kinds, and the items of a pool's value. */
#ifndef MLB_ADDRESS_H
#define MLB_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_ADDRESS_TEXT 46	/* INET6_ADDRSTRLEN: the longest text and its NUL */

/* An address as a number: an IPv4 address is in the low 32 bits of `low`. */
struct mlb_address {
	uint64_t high;
	uint64_t low;
	int family;	/* 4 or 6 */
};

enum mlb_address_kind {
	MLB_UNICAST,
	MLB_LOOPBACK,
	MLB_MULTICAST,
	MLB_BROADCAST,
	MLB_UNSPECIFIED,
	MLB_LINK_LOCAL,
	MLB_RESERVED,
};

enum mlb_address_form {
	MLB_FORM_SINGLE,
	MLB_FORM_RANGE,
	MLB_FORM_CIDR,
};

/* One item of a pool's value; `prefix` is set for a CIDR alone. */
struct mlb_address_item {
	struct mlb_address first;
	struct mlb_address last;
	enum mlb_address_form form;
	int prefix;
};

/* Read an address, all of `text`: dotted quad without leading zeros, or IPv6 (RFC 4291 section 2.2) that has no zone id
 * and is not IPv4-mapped. 0 or -EINVAL; then `*ret_why` (unless NULL) is a static text that completes
 * "<text> is not an address: ". */
int mlb_address_parse(const char *text, size_t length, struct mlb_address *ret_address, const char **ret_why);

/* Write the canonical text (RFC 5952 for IPv6; dotted quad inside IPv6 only for the IPv4-mapped). */
void mlb_address_format(const struct mlb_address *address, char ret_text[MLB_ADDRESS_TEXT]);

/* Read one item of a pool's value, white space around it and around the dash included. 0 or -EINVAL; then `ret_message`
 * says what is wrong with the text and what would be right. */
int mlb_address_parse_item(const char *text, size_t length, struct mlb_address_item *ret_item,
			   char *ret_message, size_t message_size);

/* Network byte order to and from: 4 bytes for IPv4, 16 for IPv6. */
struct mlb_address mlb_address_from_bytes(int family, const void *bytes);
void mlb_address_to_bytes(const struct mlb_address *address, void *ret_bytes);

/* < 0, 0, > 0: IPv4 before IPv6, then numeric. */
int mlb_address_compare(const struct mlb_address *a, const struct mlb_address *b);

/* What an address may be used for (RFC 6890; RFC 4291 section 2.4 for IPv6). Private, shared and documentation addresses
 * are unicast. */
enum mlb_address_kind mlb_address_kind(const struct mlb_address *address);
const char *mlb_address_kind_name(enum mlb_address_kind kind);

/* First and last address of the subnet; `prefix` is 0 to 32 or 0 to 128. */
struct mlb_address mlb_address_mask(const struct mlb_address *address, int prefix);
struct mlb_address mlb_address_broadcast(const struct mlb_address *address, int prefix);

/* The neighbour in order; false at the end of the family's address space. */
bool mlb_address_next(const struct mlb_address *address, struct mlb_address *ret_next);
bool mlb_address_previous(const struct mlb_address *address, struct mlb_address *ret_previous);

/* How far `to` lies behind `from`, of the same family: exact below 2^53, rounded above; negative when it lies before. */
double mlb_address_distance(const struct mlb_address *from, const struct mlb_address *to);

/* The address `count` behind; false past the end of the family's address space. */
bool mlb_address_add(const struct mlb_address *address, uint64_t count, struct mlb_address *ret_sum);

/* An IPv4 address that ends in .0 or .255: never given out from a pool. */
bool mlb_address_is_ending(const struct mlb_address *address);

#endif
