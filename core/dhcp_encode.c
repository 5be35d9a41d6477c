/* Writing DHCPv4 messages, and names as option 81 has them. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "dhcp.h"
#include "dhcp_impl.h"
#include "octets.h"

#define PART_MOST 255		/* octets of one option on the wire */
#define FQDN_HEADER 3		/* flags and two obsolete codes (RFC 4702 section 2) */
#define FQDN_SERVER 0x01	/* S: the server shall update the A record */
#define FQDN_ENCODED 0x04	/* E: the name is in DNS wire form */
#define LABEL_MOST 63
#define NAME_MOST 253

struct writer {
	uint8_t *bytes;
	size_t size;
	size_t length;
	bool is_full;
};

/* An option, in parts when it is longer than one holds (RFC 3396). */
static void put_option(struct writer *writer, uint8_t code, const uint8_t *value, size_t length)
{
	do {
		size_t part = length < PART_MOST ? length : PART_MOST;

		if (writer->size - writer->length < part + 2) {
			writer->is_full = true;
			return;
		}
		writer->bytes[writer->length++] = code;
		writer->bytes[writer->length++] = (uint8_t)part;
		memcpy(writer->bytes + writer->length, value, part);
		writer->length += part;
		value += part;
		length -= part;
	} while (length > 0);
}

static void put_bytes(struct writer *writer, uint8_t code, const struct mlb_dhcp_bytes *value)
{
	if (value->length)
		put_option(writer, code, value->bytes, value->length);
}

static void put_number(struct writer *writer, uint8_t code, bool is_present, uint32_t value)
{
	uint8_t bytes[4];

	mlb_put32(bytes, value);
	if (is_present)
		put_option(writer, code, bytes, sizeof(bytes));
}

static void write_fixed(const struct mlb_dhcp_message *message, uint8_t *bytes)
{
	memset(bytes, 0, MLB_DHCP_FIXED);
	bytes[0] = message->op;
	bytes[1] = 1;	/* Ethernet */
	bytes[2] = MLB_MAC_SIZE;
	bytes[3] = message->hops;
	mlb_put32(bytes + 4, message->xid);
	mlb_put16(bytes + 8, message->secs);
	bytes[10] = message->is_broadcast ? 0x80 : 0;
	mlb_put32(bytes + 12, message->ciaddr);
	mlb_put32(bytes + 16, message->yiaddr);
	mlb_put32(bytes + 20, message->siaddr);
	mlb_put32(bytes + 24, message->giaddr);
	memcpy(bytes + 28, message->chaddr, MLB_MAC_SIZE);
	mlb_put32(bytes + MLB_DHCP_FIXED - 4, MLB_DHCP_COOKIE);
}

/* The type first, as some servers want it. */
static void write_options(struct writer *writer, const struct mlb_dhcp_message *message)
{
	const uint8_t type = (uint8_t)message->type;
	uint8_t most[2];

	put_option(writer, MLB_DHCP_OPTION_TYPE, &type, 1);
	put_bytes(writer, MLB_DHCP_OPTION_CLIENT_ID, &message->client_id);
	put_number(writer, MLB_DHCP_OPTION_REQUESTED, message->requested, message->requested);
	put_number(writer, MLB_DHCP_OPTION_SERVER, message->server, message->server);
	mlb_put16(most, message->max_message);
	if (message->max_message)
		put_option(writer, MLB_DHCP_OPTION_MAX_MESSAGE, most, sizeof(most));
	put_number(writer, MLB_DHCP_OPTION_LEASE, message->has_lease, message->lease_s);
	put_number(writer, MLB_DHCP_OPTION_T1, message->has_t1, message->t1_s);
	put_number(writer, MLB_DHCP_OPTION_T2, message->has_t2, message->t2_s);
	put_number(writer, MLB_DHCP_OPTION_MASK, message->mask, message->mask);
	put_number(writer, MLB_DHCP_OPTION_ROUTER, message->router, message->router);
	put_bytes(writer, MLB_DHCP_OPTION_HOST_NAME, &message->host_name);
	put_bytes(writer, MLB_DHCP_OPTION_FQDN, &message->fqdn);
	put_bytes(writer, MLB_DHCP_OPTION_PARAMETERS, &message->parameters);
	put_bytes(writer, MLB_DHCP_OPTION_MESSAGE, &message->text);
}

int mlb_dhcp_encode(const struct mlb_dhcp_message *message, uint8_t *ret_bytes, size_t size, size_t *ret_length)
{
	struct writer writer = { .bytes = ret_bytes, .size = size - 1, .length = MLB_DHCP_FIXED };

	if (size < MLB_DHCP_MESSAGE_LEAST)
		return -EMSGSIZE;
	write_fixed(message, ret_bytes);
	write_options(&writer, message);
	if (writer.is_full)
		return -EMSGSIZE;
	ret_bytes[writer.length++] = MLB_DHCP_OPTION_END;
	if (writer.length < MLB_DHCP_MESSAGE_LEAST) {
		memset(ret_bytes + writer.length, MLB_DHCP_OPTION_PAD, MLB_DHCP_MESSAGE_LEAST - writer.length);
		writer.length = MLB_DHCP_MESSAGE_LEAST;
	}
	*ret_length = writer.length;
	return 0;
}

static bool is_label(const char *label, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
			return false;
	return length > 0 && length <= LABEL_MOST && label[0] != '-' && label[length - 1] != '-';
}

int mlb_dhcp_set_fqdn(struct mlb_dhcp_bytes *ret_option, const char *name)
{
	struct mlb_dhcp_bytes option = { .length = FQDN_HEADER, .bytes = { FQDN_SERVER | FQDN_ENCODED } };
	size_t total = strlen(name);

	if (total > 0 && name[total - 1] == '.')
		total--;
	if (total == 0 || total > NAME_MOST)
		return -EINVAL;
	for (size_t at = 0; at < total;) {
		const char *dot = memchr(name + at, '.', total - at);
		size_t label = dot ? (size_t)(dot - name) - at : total - at;

		if (!is_label(name + at, label) || at + label + 1 == total)
			return -EINVAL;
		option.bytes[option.length++] = (uint8_t)label;
		memcpy(option.bytes + option.length, name + at, label);
		option.length += label;
		at += label + 1;
	}
	if (strchr(name, '.'))
		option.bytes[option.length++] = 0;
	*ret_option = option;
	return 0;
}

bool mlb_dhcp_get_fqdn(const struct mlb_dhcp_bytes *option, char ret_name[256])
{
	size_t length = 0, at = FQDN_HEADER;

	if (option->length <= FQDN_HEADER || !(option->bytes[0] & FQDN_ENCODED))
		return false;
	while (at < option->length && option->bytes[at]) {
		size_t label = option->bytes[at];

		if (label > LABEL_MOST || label > option->length - at - 1 || length + label + 1 > NAME_MOST + 1 ||
		    !is_label((const char *)option->bytes + at + 1, label))
			return false;
		if (length)
			ret_name[length++] = '.';
		memcpy(ret_name + length, option->bytes + at + 1, label);
		length += label;
		at += 1 + label;
	}
	ret_name[length] = '\0';
	return length > 0;
}
