/* Reading DHCPv4 messages. Each option is copied out before it is looked at. */
#include "dhcp.h"

#include <errno.h>
#include <string.h>

#include "dhcp_impl.h"
#include "octets.h"

/* The places options are in: the options field, then `file`, then `sname` (RFC 3396 section 5 has that order). */
struct areas {
	size_t count;
	struct {
		const uint8_t *start, *end;
	} list[3];
};

struct option {
	uint8_t code;
	uint8_t length;
	const uint8_t *value;
};

static const char *const type_names[MLB_DHCP_TYPES] = {
	[MLB_DHCP_DISCOVER] = "discover",
	[MLB_DHCP_OFFER] = "offer",
	[MLB_DHCP_REQUEST] = "request",
	[MLB_DHCP_DECLINE] = "decline",
	[MLB_DHCP_ACK] = "ack",
	[MLB_DHCP_NAK] = "nak",
	[MLB_DHCP_RELEASE] = "release",
	[MLB_DHCP_INFORM] = "inform",
};

const char *mlb_dhcp_type_name(enum mlb_dhcp_type type)
{
	return type > 0 && type < MLB_DHCP_TYPES ? type_names[type] : NULL;
}

enum mlb_dhcp_type mlb_dhcp_type_of(const char *name)
{
	for (enum mlb_dhcp_type type = MLB_DHCP_DISCOVER; type < MLB_DHCP_TYPES; type++)
		if (strcmp(name, type_names[type]) == 0)
			return type;
	return 0;
}

int mlb_dhcp_prefix(uint32_t mask)
{
	int prefix = 0;

	while (prefix < 32 && mask & 0x80000000u >> prefix)
		prefix++;
	return prefix < 32 && mask << prefix ? 0 : prefix;
}

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

/* The next option of [*at, end): 1; 0 at the end (some servers leave out the end option); -EBADMSG when it is cut off. */
static int next_option(const uint8_t **at, const uint8_t *end, struct option *ret)
{
	while (*at < end && **at == MLB_DHCP_OPTION_PAD)
		++*at;
	if (*at == end || **at == MLB_DHCP_OPTION_END)
		return 0;
	if (end - *at < 2 || end - *at - 2 < (*at)[1])
		return -EBADMSG;
	*ret = (struct option){ .code = (*at)[0], .length = (*at)[1], .value = *at + 2 };
	*at += 2 + ret->length;
	return 1;
}

static int check_area(const uint8_t *at, const uint8_t *end, uint8_t *ret_overload)
{
	struct option option;
	int found;

	while ((found = next_option(&at, end, &option)) > 0)
		if (ret_overload && option.code == MLB_DHCP_OPTION_OVERLOAD && option.length == 1)
			*ret_overload = option.value[0];
	return found;
}

/* Which areas there are; each of them is well formed to its end. RFC 2131 section 4.1. */
static int find_areas(const uint8_t *bytes, size_t length, struct areas *ret, const char **ret_why)
{
	uint8_t overload = 0;

	ret->count = 1;
	ret->list[0].start = bytes + MLB_DHCP_FIXED;
	ret->list[0].end = bytes + length;
	if (check_area(ret->list[0].start, ret->list[0].end, &overload) < 0)
		return refuse(ret_why, "an option is cut off");
	if (overload > 3)
		return refuse(ret_why, "its option overload is not 1, 2 or 3");
	if (overload & 1) {
		ret->list[ret->count].start = bytes + MLB_DHCP_FILE;
		ret->list[ret->count++].end = bytes + MLB_DHCP_FILE + MLB_DHCP_FILE_SIZE;
	}
	if (overload & 2) {
		ret->list[ret->count].start = bytes + MLB_DHCP_SNAME;
		ret->list[ret->count++].end = bytes + MLB_DHCP_SNAME + MLB_DHCP_SNAME_SIZE;
	}
	for (size_t i = 1; i < ret->count; i++)
		if (check_area(ret->list[i].start, ret->list[i].end, NULL) < 0)
			return refuse(ret_why, "an option in file or sname is cut off");
	return 0;
}

/* Join all parts of an option (RFC 3396). 0; -EBADMSG when they are more than we hold. */
static int gather(const struct areas *areas, uint8_t code, struct mlb_dhcp_bytes *ret)
{
	struct option option;

	ret->length = 0;
	for (size_t i = 0; i < areas->count; i++) {
		const uint8_t *at = areas->list[i].start;

		while (next_option(&at, areas->list[i].end, &option) > 0) {
			if (option.code != code)
				continue;
			if (option.length > sizeof(ret->bytes) - ret->length)
				return -EBADMSG;
			memcpy(ret->bytes + ret->length, option.value, option.length);
			ret->length += option.length;
		}
	}
	return 0;
}

/* A number of four octets; false when the option is absent or has another length. */
static bool read32(const struct areas *areas, uint8_t code, uint32_t *ret_value)
{
	struct mlb_dhcp_bytes option;

	if (gather(areas, code, &option) < 0 || option.length != 4)
		return false;
	*ret_value = mlb_get32(option.bytes);
	return true;
}

static void read_numbers(const struct areas *areas, struct mlb_dhcp_message *message)
{
	struct mlb_dhcp_bytes option;

	read32(areas, MLB_DHCP_OPTION_SERVER, &message->server);
	read32(areas, MLB_DHCP_OPTION_REQUESTED, &message->requested);
	read32(areas, MLB_DHCP_OPTION_MASK, &message->mask);
	message->has_lease = read32(areas, MLB_DHCP_OPTION_LEASE, &message->lease_s);
	message->has_t1 = read32(areas, MLB_DHCP_OPTION_T1, &message->t1_s);
	message->has_t2 = read32(areas, MLB_DHCP_OPTION_T2, &message->t2_s);
	/* A list of routers, in order of preference (RFC 2132 section 3.5). */
	if (gather(areas, MLB_DHCP_OPTION_ROUTER, &option) == 0 && option.length >= 4 && option.length % 4 == 0)
		message->router = mlb_get32(option.bytes);
	if (gather(areas, MLB_DHCP_OPTION_MAX_MESSAGE, &option) == 0 && option.length == 2)
		message->max_message = mlb_get16(option.bytes);
}

static int read_options(const struct areas *areas, struct mlb_dhcp_message *message, const char **ret_why)
{
	struct mlb_dhcp_bytes type;

	if (gather(areas, MLB_DHCP_OPTION_TYPE, &type) < 0 || type.length != 1 || type.bytes[0] == 0 ||
	    type.bytes[0] >= MLB_DHCP_TYPES)
		return refuse(ret_why, "it has no DHCP message type, or none of RFC 2132");
	message->type = type.bytes[0];
	read_numbers(areas, message);
	if (gather(areas, MLB_DHCP_OPTION_CLIENT_ID, &message->client_id) < 0 ||
	    gather(areas, MLB_DHCP_OPTION_HOST_NAME, &message->host_name) < 0 ||
	    gather(areas, MLB_DHCP_OPTION_FQDN, &message->fqdn) < 0 ||
	    gather(areas, MLB_DHCP_OPTION_MESSAGE, &message->text) < 0 ||
	    gather(areas, MLB_DHCP_OPTION_PARAMETERS, &message->parameters) < 0)
		return refuse(ret_why, "an option is longer than 512 octets");
	return 0;
}

static void read_fixed(const uint8_t *bytes, struct mlb_dhcp_message *message)
{
	message->op = bytes[0];
	message->hops = bytes[3];
	message->xid = mlb_get32(bytes + 4);
	message->secs = mlb_get16(bytes + 8);
	message->is_broadcast = bytes[10] & 0x80;
	message->ciaddr = mlb_get32(bytes + 12);
	message->yiaddr = mlb_get32(bytes + 16);
	message->siaddr = mlb_get32(bytes + 20);
	message->giaddr = mlb_get32(bytes + 24);
	memcpy(message->chaddr, bytes + 28, MLB_MAC_SIZE);
}

int mlb_dhcp_decode(const uint8_t *bytes, size_t length, struct mlb_dhcp_message *ret_message, const char **ret_why)
{
	struct areas areas;
	int result;

	if (length < MLB_DHCP_FIXED)
		return refuse(ret_why, "it is shorter than 240 octets");
	if ((bytes[0] != 1 && bytes[0] != 2) || bytes[1] != 1 || bytes[2] != MLB_MAC_SIZE)
		return refuse(ret_why, "it is not BOOTP over Ethernet");
	if (mlb_get32(bytes + MLB_DHCP_FIXED - 4) != MLB_DHCP_COOKIE)
		return refuse(ret_why, "it has not the magic cookie of DHCP");
	result = find_areas(bytes, length, &areas, ret_why);
	if (result < 0)
		return result;
	memset(ret_message, 0, sizeof(*ret_message));
	read_fixed(bytes, ret_message);
	return read_options(&areas, ret_message, ret_why);
}
