#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_TEXT 64	/* bytes of a bad text that a message repeats */

static int family_bits(int family)
{
	return family == 4 ? 32 : 128;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static uint64_t read_be64(const unsigned char *bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | bytes[i];
	return value;
}

static void write_be64(unsigned char *bytes, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		bytes[i] = (unsigned char)value;
}

struct mlb_address mlb_address_from_bytes(int family, const void *bytes)
{
	unsigned char wide[16] = { 0 };

	if (family == 4)
		memcpy(wide + 12, bytes, 4);
	else
		memcpy(wide, bytes, 16);
	return (struct mlb_address){ .high = read_be64(wide), .low = read_be64(wide + 8), .family = family };
}

void mlb_address_to_bytes(const struct mlb_address *address, void *ret_bytes)
{
	unsigned char wide[16];

	write_be64(wide, address->high);
	write_be64(wide + 8, address->low);
	if (address->family == 4)
		memcpy(ret_bytes, wide + 12, 4);
	else
		memcpy(ret_bytes, wide, 16);
}

static bool is_mapped(const struct mlb_address *address)
{
	return address->family == 6 && address->high == 0 && address->low >> 32 == 0xffff;
}

/* Why inet_pton refused a text of digits and dots. */
static const char *why_not_ipv4(const char *text)
{
	for (const char *octet = text; octet; octet = strchr(octet, '.')) {
		octet += *octet == '.';
		if (octet[0] == '0' && is_digit(octet[1]))
			return "a number of an IPv4 address has no leading zero (write 10.0.0.8, not 10.0.0.08)";
	}
	return "an IPv4 address is four numbers from 0 to 255 (such as 10.0.0.8)";
}

static const char *why_not_an_address(const char *text)
{
	if (strchr(text, '%'))
		return "zone ids are not understood here (leave out % and what follows)";
	if (strchr(text, ':'))
		return "an IPv6 address is up to eight groups of hexadecimal digits (such as fd00::8)";
	if (text[strspn(text, "0123456789.")] == '\0')
		return why_not_ipv4(text);
	return "expected an IPv4 or IPv6 address (such as 10.0.0.8 or fd00::8)";
}

/* inet_pton(3) needs a NUL behind the text; what cannot be copied is no address. */
static int parse_copy(const char *text, size_t length, struct mlb_address *ret_address, const char **ret_why)
{
	char copy[MLB_ADDRESS_TEXT];
	unsigned char bytes[16];

	if (length == 0) {
		*ret_why = "it is empty";
		return -EINVAL;
	}
	if (length >= sizeof(copy) || memchr(text, '\0', length)) {
		*ret_why = "no address is that long or holds such a byte";
		return -EINVAL;
	}
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1) {
		*ret_address = mlb_address_from_bytes(4, bytes);
		return 0;
	}
	if (inet_pton(AF_INET6, copy, bytes) != 1) {
		*ret_why = why_not_an_address(copy);
		return -EINVAL;
	}
	*ret_address = mlb_address_from_bytes(6, bytes);
	return 0;
}

int mlb_address_parse(const char *text, size_t length, struct mlb_address *ret_address, const char **ret_why)
{
	struct mlb_address address;
	const char *why;
	int err = parse_copy(text, length, &address, &why);

	if (err == 0 && is_mapped(&address)) {
		why = "it is an IPv4 address in IPv6 form (write the IPv4 address alone)";
		err = -EINVAL;
	}
	if (err == 0)
		*ret_address = address;
	else if (ret_why)
		*ret_why = why;
	return err;
}

/* The longest run of zero groups, the first of equals; a single zero group is not shortened (RFC 5952 section 4.2). */
static void find_zeros(const unsigned groups[8], int *ret_start, int *ret_length)
{
	*ret_start = -1;
	*ret_length = 1;
	for (int start = 0; start < 8; start++) {
		int length = 0;

		while (start + length < 8 && groups[start + length] == 0)
			length++;
		if (length > *ret_length) {
			*ret_start = start;
			*ret_length = length;
		}
	}
}

/* Not inet_ntop(3): glibc writes all of ::/96 with a dotted quad, where Kubernetes writes ::1:2. */
static void format_ipv6(const struct mlb_address *address, char ret_text[MLB_ADDRESS_TEXT])
{
	unsigned groups[8];
	int zeros, zeros_length;
	size_t used = 0;

	for (int i = 0; i < 8; i++)
		groups[i] = (i < 4 ? address->high : address->low) >> (48 - 16 * (i % 4)) & 0xffff;
	find_zeros(groups, &zeros, &zeros_length);
	for (int i = 0; i < 8; i++) {
		const char *colon = i > 0 && i != zeros + zeros_length ? ":" : "";

		if (zeros >= 0 && i == zeros) {
			used += (size_t)snprintf(ret_text + used, MLB_ADDRESS_TEXT - used, "::");
			i += zeros_length - 1;
			continue;
		}
		if (zeros < 0 && i > 0)
			colon = ":";
		used += (size_t)snprintf(ret_text + used, MLB_ADDRESS_TEXT - used, "%s%x", colon, groups[i]);
	}
}

void mlb_address_format(const struct mlb_address *address, char ret_text[MLB_ADDRESS_TEXT])
{
	unsigned low = (unsigned)address->low;

	if (address->family == 6 && !is_mapped(address)) {
		format_ipv6(address, ret_text);
		return;
	}
	snprintf(ret_text, MLB_ADDRESS_TEXT, "%s%u.%u.%u.%u", address->family == 6 ? "::ffff:" : "",
		 low >> 24, low >> 16 & 0xff, low >> 8 & 0xff, low & 0xff);
}

int mlb_address_compare(const struct mlb_address *a, const struct mlb_address *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return 0;
}

/* RFC 6890 section 2.2.2, and RFC 1112 for multicast and class E. */
static enum mlb_address_kind kind_of_ipv4(uint32_t value)
{
	if (value == 0)
		return MLB_UNSPECIFIED;
	if (value == UINT32_MAX)
		return MLB_BROADCAST;
	if (value >> 24 == 127)
		return MLB_LOOPBACK;
	if (value >> 16 == 0xa9fe)
		return MLB_LINK_LOCAL;
	if (value >> 28 == 0xe)
		return MLB_MULTICAST;
	return value >> 24 == 0 || value >> 28 == 0xf ? MLB_RESERVED : MLB_UNICAST;
}

/* RFC 4291 section 2.4; 0000::/8 is reserved (section 2.5), 100::/64 discards (RFC 6666). */
static enum mlb_address_kind kind_of_ipv6(uint64_t high, uint64_t low)
{
	if (high == 0 && low <= 1)
		return low == 0 ? MLB_UNSPECIFIED : MLB_LOOPBACK;
	if (high >> 56 == 0xff)
		return MLB_MULTICAST;
	if (high >> 54 == 0x3fa)
		return MLB_LINK_LOCAL;
	return high >> 56 == 0 || high == 0x0100000000000000 ? MLB_RESERVED : MLB_UNICAST;
}

enum mlb_address_kind mlb_address_kind(const struct mlb_address *address)
{
	if (address->family == 4)
		return kind_of_ipv4((uint32_t)address->low);
	return kind_of_ipv6(address->high, address->low);
}

const char *mlb_address_kind_name(enum mlb_address_kind kind)
{
	static const char *const names[] = {
		[MLB_UNICAST] = "unicast",
		[MLB_LOOPBACK] = "loopback",
		[MLB_MULTICAST] = "multicast",
		[MLB_BROADCAST] = "broadcast",
		[MLB_UNSPECIFIED] = "unspecified",
		[MLB_LINK_LOCAL] = "link-local",
		[MLB_RESERVED] = "reserved",
	};

	return names[kind];
}

/* The host part of a 64-bit half of which `bits` bits belong to the network. A shift by 64 is undefined. */
static uint64_t host_mask(int bits)
{
	if (bits <= 0)
		return UINT64_MAX;
	return bits >= 64 ? 0 : UINT64_MAX >> bits;
}

struct mlb_address mlb_address_mask(const struct mlb_address *address, int prefix)
{
	int bits = prefix + 128 - family_bits(address->family);
	struct mlb_address first = *address;

	first.high &= ~host_mask(bits);
	first.low &= ~host_mask(bits - 64);
	return first;
}

struct mlb_address mlb_address_broadcast(const struct mlb_address *address, int prefix)
{
	int bits = prefix + 128 - family_bits(address->family);
	struct mlb_address last = *address;

	last.high |= host_mask(bits);
	last.low |= host_mask(bits - 64);
	return last;
}

bool mlb_address_next(const struct mlb_address *address, struct mlb_address *ret_next)
{
	struct mlb_address next = *address;

	if (address->low == (address->family == 4 ? UINT32_MAX : UINT64_MAX) &&
	    (address->family == 4 || address->high == UINT64_MAX))
		return false;
	next.low++;
	next.high += next.low == 0;
	*ret_next = next;
	return true;
}

double mlb_address_distance(const struct mlb_address *from, const struct mlb_address *to)
{
	uint64_t low;

	if (mlb_address_compare(from, to) > 0)
		return -mlb_address_distance(to, from);
	low = to->low - from->low;
	return ldexp((double)(to->high - from->high - (to->low < from->low)), 64) + (double)low;
}

bool mlb_address_add(const struct mlb_address *address, uint64_t count, struct mlb_address *ret_sum)
{
	struct mlb_address sum = *address;

	sum.low += count;
	sum.high += sum.low < count;
	if (address->family == 4 ? sum.high != 0 || sum.low > UINT32_MAX : sum.high < address->high)
		return false;
	*ret_sum = sum;
	return true;
}

bool mlb_address_previous(const struct mlb_address *address, struct mlb_address *ret_previous)
{
	struct mlb_address previous = *address;

	if (address->high == 0 && address->low == 0)
		return false;
	previous.high -= previous.low == 0;
	previous.low--;
	*ret_previous = previous;
	return true;
}

bool mlb_address_is_ending(const struct mlb_address *address)
{
	unsigned char last = (unsigned char)address->low;

	return address->family == 4 && (last == 0 || last == 255);
}

struct text {
	const char *start;
	size_t length;
};

static struct text trim(struct text text)
{
	while (text.length > 0 && is_space(text.start[0]))
		text.start++, text.length--;
	while (text.length > 0 && is_space(text.start[text.length - 1]))
		text.length--;
	return text;
}

/* A copy fit for a message: cut, and without bytes that a terminal or an Event may not hold. */
static void quote(struct text text, char ret_quoted[QUOTED_TEXT + 4])
{
	size_t length = text.length < QUOTED_TEXT ? text.length : QUOTED_TEXT;

	for (size_t i = 0; i < length; i++)
		ret_quoted[i] = text.start[i] >= ' ' && text.start[i] <= '~' ? text.start[i] : '?';
	strcpy(ret_quoted + length, text.length > length ? "..." : "");
}

/* What an item's reader needs to report: the message's buffer and the item as written. */
struct item_reader {
	char *message;
	size_t message_size;
	struct text item;
};

__attribute__((format(printf, 2, 3)))
static int refuse(const struct item_reader *reader, const char *format, ...)
{
	char quoted[QUOTED_TEXT + 4], reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	quote(reader->item, quoted);
	snprintf(reader->message, reader->message_size, "\"%s\": %s", quoted, reason);
	return -EINVAL;
}

static int read_address(const struct item_reader *reader, struct text text, struct mlb_address *ret_address)
{
	char quoted[QUOTED_TEXT + 4];
	const char *why;

	if (mlb_address_parse(text.start, text.length, ret_address, &why) == 0)
		return 0;
	quote(text, quoted);
	if (text.start == reader->item.start && text.length == reader->item.length) {	/* name it once */
		snprintf(reader->message, reader->message_size, "\"%s\" is not an address: %s", quoted, why);
		return -EINVAL;
	}
	return refuse(reader, "\"%s\" is not an address: %s", quoted, why);
}

static int read_prefix(const struct item_reader *reader, struct text text, int most, int *ret_prefix)
{
	int prefix = 0;

	for (size_t i = 0; i < text.length; i++) {
		if (!is_digit(text.start[i]) || i == 3)
			goto bad;
		prefix = prefix * 10 + text.start[i] - '0';
	}
	if (text.length == 0 || prefix > most || (text.length > 1 && text.start[0] == '0'))
		goto bad;
	*ret_prefix = prefix;
	return 0;
bad:
	return refuse(reader, "after \"/\" comes a number from 0 to %d, without leading zeros", most);
}

static int read_cidr(const struct item_reader *reader, size_t slash, struct mlb_address_item *ret_item)
{
	struct text address_text = { reader->item.start, slash };
	struct text prefix_text = { reader->item.start + slash + 1, reader->item.length - slash - 1 };
	struct mlb_address address;
	int prefix = 0, err;

	if (memchr(reader->item.start, '-', reader->item.length))
		return refuse(reader, "a range runs between two addresses, not blocks (write 10.0.0.1-10.0.0.9)");
	err = read_address(reader, address_text, &address);
	if (err == 0)
		err = read_prefix(reader, prefix_text, family_bits(address.family), &prefix);
	if (err < 0)
		return err;
	*ret_item = (struct mlb_address_item){
		.first = mlb_address_mask(&address, prefix),
		.last = mlb_address_broadcast(&address, prefix),
		.form = MLB_FORM_CIDR,
		.prefix = prefix,
	};
	return 0;
}

static int read_range(const struct item_reader *reader, size_t dash, struct mlb_address_item *ret_item)
{
	struct text first_text = { reader->item.start, dash };
	struct text last_text = { reader->item.start + dash + 1, reader->item.length - dash - 1 };
	struct mlb_address_item item = { .form = MLB_FORM_RANGE };
	int err = read_address(reader, trim(first_text), &item.first);

	if (err == 0)
		err = read_address(reader, trim(last_text), &item.last);
	if (err < 0)
		return err;
	if (item.first.family != item.last.family)
		return refuse(reader, "both ends of a range are IPv4, or both are IPv6");
	if (mlb_address_compare(&item.first, &item.last) > 0)
		return refuse(reader, "the range ends before it starts (write the lower address first)");
	*ret_item = item;
	return 0;
}

int mlb_address_parse_item(const char *text, size_t length, struct mlb_address_item *ret_item,
			   char *ret_message, size_t message_size)
{
	struct item_reader reader = {
		.message = ret_message,
		.message_size = message_size,
		.item = trim((struct text){ text, length }),
	};
	const char *slash = memchr(reader.item.start, '/', reader.item.length);
	const char *dash = memchr(reader.item.start, '-', reader.item.length);
	struct mlb_address address;
	int err;

	if (slash)
		return read_cidr(&reader, (size_t)(slash - reader.item.start), ret_item);
	if (dash)
		return read_range(&reader, (size_t)(dash - reader.item.start), ret_item);
	err = read_address(&reader, reader.item, &address);
	if (err == 0)
		*ret_item = (struct mlb_address_item){ .first = address, .last = address };
	return err;
}
