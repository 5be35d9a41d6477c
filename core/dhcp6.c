/* DHCPv6 messages: each option is measured before it is looked at, and copied out. */
#include "dhcp6.h"

#include <errno.h>
#include <string.h>

#include "octets.h"

#define HEADER 4
#define OPTION_HEADER 4
#define IA_FIXED 12
#define ADDRESS_FIXED 24
#define FQDN_SERVER 0x01	/* S: the server shall update the AAAA record (RFC 4704 section 4.1) */

enum option {
	OPTION_CLIENTID = 1,
	OPTION_SERVERID = 2,
	OPTION_IA_NA = 3,
	OPTION_IAADDR = 5,
	OPTION_ORO = 6,
	OPTION_PREFERENCE = 7,
	OPTION_ELAPSED_TIME = 8,
	OPTION_STATUS_CODE = 13,
	OPTION_CLIENT_FQDN = 39,
	OPTION_SOL_MAX_RT = 82,
};

struct piece {
	uint16_t code;
	uint16_t length;
	const uint8_t *value;
};

static const char *const type_names[MLB_DHCP6_TYPES] = {
	[MLB_DHCP6_SOLICIT] = "solicit",
	[MLB_DHCP6_ADVERTISE] = "advertise",
	[MLB_DHCP6_REQUEST] = "request",
	[MLB_DHCP6_CONFIRM] = "confirm",
	[MLB_DHCP6_RENEW] = "renew",
	[MLB_DHCP6_REBIND] = "rebind",
	[MLB_DHCP6_REPLY] = "reply",
	[MLB_DHCP6_RELEASE] = "release",
	[MLB_DHCP6_DECLINE] = "decline",
};

const char *mlb_dhcp6_type_name(enum mlb_dhcp6_type type)
{
	return type > 0 && type < MLB_DHCP6_TYPES ? type_names[type] : NULL;
}

enum mlb_dhcp6_type mlb_dhcp6_type_of(const char *name)
{
	for (enum mlb_dhcp6_type type = MLB_DHCP6_SOLICIT; type < MLB_DHCP6_TYPES; type++)
		if (strcmp(name, type_names[type]) == 0)
			return type;
	return 0;
}

const char *mlb_dhcp6_status_name(unsigned status)
{
	static const char *const names[] = { "Success", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink",
					     "UseMulticast" };

	return status < sizeof(names) / sizeof(names[0]) ? names[status] : NULL;
}

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

/* The next option of [*at, end): 1; 0 at the end; -EBADMSG when it is cut off. */
static int next_piece(const uint8_t **at, const uint8_t *end, struct piece *ret)
{
	if (*at == end)
		return 0;
	if (end - *at < OPTION_HEADER || end - *at - OPTION_HEADER < mlb_get16(*at + 2))
		return -EBADMSG;
	*ret = (struct piece){ mlb_get16(*at), mlb_get16(*at + 2), *at + OPTION_HEADER };
	*at += OPTION_HEADER + ret->length;
	return 1;
}

/* Section 21.13. The last text that goes with a failure is kept. */
static int read_status(const struct piece *piece, struct mlb_dhcp6_message *message, uint16_t *ret_status)
{
	size_t length = (size_t)piece->length - 2;

	if (piece->length < 2)
		return -EBADMSG;
	*ret_status = mlb_get16(piece->value);
	if (*ret_status == MLB_DHCP6_SUCCESS)
		return 0;
	message->text_length = length < sizeof(message->text) ? length : sizeof(message->text);
	memcpy(message->text, piece->value + 2, message->text_length);
	return 0;
}

/* Section 21.6; a status inside an address is the IA's for us. */
static int read_address(const struct piece *piece, struct mlb_dhcp6_message *message)
{
	struct mlb_dhcp6_address address;
	const uint8_t *at = piece->value + ADDRESS_FIXED, *end = piece->value + piece->length;
	struct piece inner;
	int found;

	if (piece->length < ADDRESS_FIXED)
		return -EBADMSG;
	while ((found = next_piece(&at, end, &inner)) > 0)
		if (inner.code == OPTION_STATUS_CODE && read_status(&inner, message, &message->ia_status) < 0)
			return -EBADMSG;
	memcpy(&address.address, piece->value, sizeof(address.address));
	address.preferred_s = mlb_get32(piece->value + 16);
	address.valid_s = mlb_get32(piece->value + 20);
	if (found == 0 && address.preferred_s <= address.valid_s && message->naddresses < MLB_DHCP6_ADDRESSES)
		message->addresses[message->naddresses++] = address;
	return found;
}

/* Section 21.4. */
static int read_ia(const struct piece *piece, const uint32_t *iaid, struct mlb_dhcp6_message *message)
{
	const uint8_t *at = piece->value + IA_FIXED, *end = piece->value + piece->length;
	struct piece inner;
	uint32_t id, t1, t2;
	int found;

	if (piece->length < IA_FIXED)
		return -EBADMSG;
	id = mlb_get32(piece->value);
	t1 = mlb_get32(piece->value + 4);
	t2 = mlb_get32(piece->value + 8);
	if (message->has_ia || (iaid && id != *iaid) || (t1 > t2 && t2 > 0))
		return 0;
	message->has_ia = true;
	message->iaid = id;
	message->t1_s = t1;
	message->t2_s = t2;
	while ((found = next_piece(&at, end, &inner)) > 0) {
		if (inner.code == OPTION_IAADDR && read_address(&inner, message) < 0)
			return -EBADMSG;
		if (inner.code == OPTION_STATUS_CODE && read_status(&inner, message, &message->ia_status) < 0)
			return -EBADMSG;
	}
	return found;
}

static int read_duid(const struct piece *piece, struct mlb_dhcp6_duid *ret)
{
	if (piece->length < 3 || piece->length > MLB_DHCP6_DUID_MOST || ret->length)
		return -EBADMSG;
	ret->length = piece->length;
	memcpy(ret->bytes, piece->value, piece->length);
	return 0;
}

static int read_fqdn(const struct piece *piece, struct mlb_dhcp6_message *message)
{
	if (piece->length < 1 || piece->length - 1u > sizeof(message->fqdn))
		return -EBADMSG;
	message->fqdn_length = piece->length - 1u;
	memcpy(message->fqdn, piece->value + 1, message->fqdn_length);
	return 0;
}

static int read_piece(const struct piece *piece, const uint32_t *iaid, struct mlb_dhcp6_message *message)
{
	switch (piece->code) {
	case OPTION_CLIENTID:
		return read_duid(piece, &message->client);
	case OPTION_SERVERID:
		return read_duid(piece, &message->server);
	case OPTION_IA_NA:
		return read_ia(piece, iaid, message);
	case OPTION_STATUS_CODE:
		return read_status(piece, message, &message->status);
	case OPTION_CLIENT_FQDN:
		return read_fqdn(piece, message);
	case OPTION_PREFERENCE:
		if (piece->length == 1)
			message->preference = piece->value[0];
		return 0;
	case OPTION_ELAPSED_TIME:
		if (piece->length == 2)
			message->elapsed_cs = mlb_get16(piece->value);
		return 0;
	case OPTION_SOL_MAX_RT:
		if (piece->length == 4)
			message->solicit_max_s = mlb_get32(piece->value);
		return 0;
	default:
		return 0;
	}
}

int mlb_dhcp6_decode(const uint8_t *bytes, size_t length, const uint32_t *iaid, struct mlb_dhcp6_message *ret_message,
		     const char **ret_why)
{
	const uint8_t *at = bytes + HEADER, *end = bytes + length;
	struct piece piece;
	int found;

	if (length < HEADER)
		return refuse(ret_why, "it is shorter than 4 octets");
	if (bytes[0] == 0 || bytes[0] >= MLB_DHCP6_TYPES)
		return refuse(ret_why, "its type is none of client and server");
	memset(ret_message, 0, sizeof(*ret_message));
	ret_message->type = bytes[0];
	ret_message->xid = mlb_get32(bytes) & 0xffffff;
	while ((found = next_piece(&at, end, &piece)) > 0)
		if (read_piece(&piece, iaid, ret_message) < 0)
			return refuse(ret_why, "an option has a length that it cannot have, or a DUID comes twice");
	return found < 0 ? refuse(ret_why, "an option is cut off") : 0;
}

struct writer {
	uint8_t *bytes;
	size_t size;
	size_t length;
	bool is_full;
};

/* Room for an option's content, its header written; NULL when there is none. */
static uint8_t *add_option(struct writer *writer, uint16_t code, size_t length)
{
	uint8_t *at = writer->bytes + writer->length;

	if (writer->is_full || writer->size - writer->length < OPTION_HEADER + length) {
		writer->is_full = true;
		return NULL;
	}
	mlb_put16(at, code);
	mlb_put16(at + 2, (uint16_t)length);
	writer->length += OPTION_HEADER + length;
	return at + OPTION_HEADER;
}

static void add_bytes(struct writer *writer, uint16_t code, const uint8_t *bytes, size_t length)
{
	uint8_t *at = length ? add_option(writer, code, length) : NULL;

	if (at)
		memcpy(at, bytes, length);
}

static void add_status(struct writer *writer, uint16_t status, const struct mlb_dhcp6_message *message)
{
	uint8_t *at = status ? add_option(writer, OPTION_STATUS_CODE, 2 + message->text_length) : NULL;

	if (!at)
		return;
	mlb_put16(at, status);
	memcpy(at + 2, message->text, message->text_length);
}

static void add_ia(struct writer *writer, const struct mlb_dhcp6_message *message)
{
	size_t start = writer->length + OPTION_HEADER;
	uint8_t *ia = add_option(writer, OPTION_IA_NA, IA_FIXED), *at;

	if (!ia)
		return;
	mlb_put32(ia, message->iaid);
	mlb_put32(ia + 4, message->t1_s);
	mlb_put32(ia + 8, message->t2_s);
	for (size_t i = 0; i < message->naddresses; i++) {
		at = add_option(writer, OPTION_IAADDR, ADDRESS_FIXED);
		if (!at)
			return;
		memcpy(at, &message->addresses[i].address, sizeof(struct in6_addr));
		mlb_put32(at + 16, message->addresses[i].preferred_s);
		mlb_put32(at + 20, message->addresses[i].valid_s);
	}
	add_status(writer, message->ia_status, message);
	mlb_put16(ia - 2, (uint16_t)(writer->length - start));
}

static void add_fqdn(struct writer *writer, const struct mlb_dhcp6_message *message)
{
	uint8_t *at = message->fqdn_length ? add_option(writer, OPTION_CLIENT_FQDN, 1 + message->fqdn_length) : NULL;

	if (!at)
		return;
	at[0] = FQDN_SERVER;
	memcpy(at + 1, message->fqdn, message->fqdn_length);
}

/* Section 24: SOL_MAX_RT must be asked for in these; the FQDN's option where one is sent (RFC 4704 section 5). */
static void add_wishes(struct writer *writer, const struct mlb_dhcp6_message *message)
{
	uint8_t list[4];

	mlb_put16(list, OPTION_SOL_MAX_RT);
	mlb_put16(list + 2, OPTION_CLIENT_FQDN);
	add_bytes(writer, OPTION_ORO, list, message->fqdn_length ? 4 : 2);
}

static void add_client_part(struct writer *writer, const struct mlb_dhcp6_message *message)
{
	uint8_t elapsed[2];

	mlb_put16(elapsed, message->elapsed_cs);
	add_bytes(writer, OPTION_ELAPSED_TIME, elapsed, sizeof(elapsed));
	if (message->type != MLB_DHCP6_RELEASE && message->type != MLB_DHCP6_DECLINE)
		add_wishes(writer, message);
}

int mlb_dhcp6_encode(const struct mlb_dhcp6_message *message, uint8_t *ret_bytes, size_t size, size_t *ret_length)
{
	struct writer writer = { .bytes = ret_bytes, .size = size, .length = HEADER };
	bool is_answer = message->type == MLB_DHCP6_ADVERTISE || message->type == MLB_DHCP6_REPLY;
	uint8_t limit[4];

	if (size < HEADER)
		return -EMSGSIZE;
	mlb_put32(ret_bytes, (uint32_t)message->type << 24 | (message->xid & 0xffffff));
	add_bytes(&writer, OPTION_CLIENTID, message->client.bytes, message->client.length);
	add_bytes(&writer, OPTION_SERVERID, message->server.bytes, message->server.length);
	if (!is_answer)
		add_client_part(&writer, message);
	if (message->has_ia)
		add_ia(&writer, message);
	add_fqdn(&writer, message);
	if (message->preference)
		add_bytes(&writer, OPTION_PREFERENCE, &message->preference, 1);
	mlb_put32(limit, message->solicit_max_s);
	add_bytes(&writer, OPTION_SOL_MAX_RT, limit, message->solicit_max_s ? sizeof(limit) : 0);
	add_status(&writer, message->status, message);
	if (writer.is_full)
		return -EMSGSIZE;
	*ret_length = writer.length;
	return 0;
}
