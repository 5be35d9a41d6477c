#include "heartbeat.h"

#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "octets.h"

#define VERSION 1
#define FLAGS (MLB_HEARTBEAT_GIVES_ALL | MLB_HEARTBEAT_STALE | MLB_HEARTBEAT_MORE)
#define IPV4_HEADER 20
#define UDP_HEADER 8

static const uint8_t magic[4] = { 'M', 'L', 'H', 'B' };

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

static bool is_name(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
			return false;
	return length > 0;
}

static void read_header(const uint8_t *bytes, struct mlb_heartbeat *ret)
{
	ret->flags = bytes[5];
	ret->nheard = bytes[7];
	ret->key_id = mlb_get32(bytes + 8);
	memcpy(ret->cluster, bytes + 12, MLB_HEARTBEAT_ID);
	ret->newest_key_id = mlb_get32(bytes + 28);
	ret->incarnation = mlb_get32(bytes + 32);
	ret->nonce = mlb_get32(bytes + 36);
	ret->sequence = mlb_get64(bytes + 40);
	ret->digest = mlb_get64(bytes + 48);
	memcpy(ret->mac, bytes + 56, MLB_MAC_SIZE);
	ret->nhandshakes = bytes[62];
	ret->nwant = bytes[63];
	ret->nrelays = bytes[64];
	ret->nstatements = bytes[65];
	ret->whole_index = mlb_get16(bytes + 66);
	ret->whole_total = mlb_get16(bytes + 68);
	ret->whole_id = mlb_get32(bytes + 70);
}

/* What of [at, end) the relays take; 0 for none, SIZE_MAX when they are not well formed. */
static size_t measure_relays(const uint8_t *at, const uint8_t *end, unsigned count)
{
	const uint8_t *start = at;

	for (unsigned i = 0; i < count; i++) {
		size_t node;

		if ((size_t)(end - at) < MLB_RELAY_SIZE)
			return SIZE_MAX;
		node = at[MLB_RELAY_SIZE - 1];
		if (node > MLB_HEARTBEAT_NAME || (size_t)(end - at) < MLB_RELAY_SIZE + node ||
		    !is_name(at + MLB_RELAY_SIZE, node))
			return SIZE_MAX;
		at += MLB_RELAY_SIZE + node;
	}
	return (size_t)(at - start);
}

static int find_lists(const uint8_t *at, const uint8_t *end, struct mlb_heartbeat *ret, const char **ret_why)
{
	size_t fixed = (size_t)ret->nheard * MLB_HEARD_SIZE + (size_t)ret->nhandshakes * MLB_HANDSHAKE_SIZE +
		       (size_t)ret->nwant * MLB_WANT_SIZE + (size_t)ret->nstatements * MLB_STATEMENT_SIZE;

	if ((size_t)(end - at) < fixed)
		return refuse(ret_why, "it is shorter than its lists");
	ret->heard = at;
	ret->handshakes = ret->heard + (size_t)ret->nheard * MLB_HEARD_SIZE;
	ret->want = ret->handshakes + (size_t)ret->nhandshakes * MLB_HANDSHAKE_SIZE;
	ret->relays = ret->want + (size_t)ret->nwant * MLB_WANT_SIZE;
	ret->relays_length = measure_relays(ret->relays, end - (size_t)ret->nstatements * MLB_STATEMENT_SIZE, ret->nrelays);
	if (ret->relays_length == SIZE_MAX)
		return refuse(ret_why, "a relay is cut off or names no node");
	ret->statements = ret->relays + ret->relays_length;
	if (ret->statements + (size_t)ret->nstatements * MLB_STATEMENT_SIZE != end)
		return refuse(ret_why, "it is longer than its lists");
	return 0;
}

int mlb_heartbeat_decode(const uint8_t *payload, size_t length, struct mlb_heartbeat *ret_heartbeat, const char **ret_why)
{
	struct mlb_heartbeat heartbeat = { 0 };
	size_t name;
	int result;

	if (length < MLB_HEARTBEAT_HEADER + 1 + MLB_HEARTBEAT_TAG || length > MLB_HEARTBEAT_PAYLOAD)
		return refuse(ret_why, "its length is not 93 to 1472");
	if (memcmp(payload, magic, sizeof(magic)) != 0 || payload[4] != VERSION)
		return refuse(ret_why, "it does not begin with MLHB and version 1");
	if ((payload[5] & ~FLAGS) || payload[74] || payload[75])
		return refuse(ret_why, "a reserved bit is set");
	read_header(payload, &heartbeat);
	name = payload[6];
	if (name > MLB_HEARTBEAT_NAME || length < MLB_HEARTBEAT_HEADER + name + MLB_HEARTBEAT_TAG ||
	    !is_name(payload + MLB_HEARTBEAT_HEADER, name))
		return refuse(ret_why, "its sender has no name");
	memcpy(heartbeat.name, payload + MLB_HEARTBEAT_HEADER, name);
	if (heartbeat.whole_id ? heartbeat.whole_index == 0 || heartbeat.whole_index > heartbeat.whole_total :
				 heartbeat.whole_index || heartbeat.whole_total)
		return refuse(ret_why, "its part of a whole set is none");
	result = find_lists(payload + MLB_HEARTBEAT_HEADER + name, payload + length - MLB_HEARTBEAT_TAG, &heartbeat, ret_why);
	if (result == 0)
		*ret_heartbeat = heartbeat;
	return result;
}

static void write_header(const struct mlb_heartbeat *heartbeat, size_t name, uint8_t *out)
{
	memset(out, 0, MLB_HEARTBEAT_HEADER);
	memcpy(out, magic, sizeof(magic));
	out[4] = VERSION;
	out[5] = heartbeat->flags;
	out[6] = (uint8_t)name;
	out[7] = heartbeat->nheard;
	mlb_put32(out + 8, heartbeat->key_id);
	memcpy(out + 12, heartbeat->cluster, MLB_HEARTBEAT_ID);
	mlb_put32(out + 28, heartbeat->newest_key_id);
	mlb_put32(out + 32, heartbeat->incarnation);
	mlb_put32(out + 36, heartbeat->nonce);
	mlb_put64(out + 40, heartbeat->sequence);
	mlb_put64(out + 48, heartbeat->digest);
	memcpy(out + 56, heartbeat->mac, MLB_MAC_SIZE);
	out[62] = heartbeat->nhandshakes;
	out[63] = heartbeat->nwant;
	out[64] = heartbeat->nrelays;
	out[65] = heartbeat->nstatements;
	mlb_put16(out + 66, heartbeat->whole_index);
	mlb_put16(out + 68, heartbeat->whole_total);
	mlb_put32(out + 70, heartbeat->whole_id);
}

size_t mlb_heartbeat_encode(const struct mlb_heartbeat *heartbeat, uint8_t ret_payload[MLB_HEARTBEAT_PAYLOAD])
{
	const struct { const void *bytes; size_t length; } pieces[] = {
		{ heartbeat->name, strlen(heartbeat->name) },
		{ heartbeat->heard, (size_t)heartbeat->nheard * MLB_HEARD_SIZE },
		{ heartbeat->handshakes, (size_t)heartbeat->nhandshakes * MLB_HANDSHAKE_SIZE },
		{ heartbeat->want, (size_t)heartbeat->nwant * MLB_WANT_SIZE },
		{ heartbeat->relays, heartbeat->relays_length },
		{ heartbeat->statements, (size_t)heartbeat->nstatements * MLB_STATEMENT_SIZE },
	};
	size_t length = MLB_HEARTBEAT_HEADER;

	write_header(heartbeat, pieces[0].length, ret_payload);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		if (length + pieces[i].length > MLB_HEARTBEAT_PAYLOAD - MLB_HEARTBEAT_TAG)
			return 0;
		if (pieces[i].length)
			memcpy(ret_payload + length, pieces[i].bytes, pieces[i].length);
		length += pieces[i].length;
	}
	return length;
}

uint32_t mlb_heartbeat_id_at(const uint8_t *list, unsigned i)
{
	return mlb_get32(list + (size_t)i * MLB_HEARD_SIZE);
}

void mlb_heartbeat_handshake_at(const struct mlb_heartbeat *heartbeat, unsigned i, struct mlb_handshake *ret_handshake)
{
	const uint8_t *at = heartbeat->handshakes + (size_t)i * MLB_HANDSHAKE_SIZE;

	ret_handshake->id = mlb_get32(at);
	ret_handshake->incarnation = mlb_get32(at + 4);
	ret_handshake->nonce = mlb_get32(at + 8);
}

void mlb_heartbeat_statement_at(const struct mlb_heartbeat *heartbeat, unsigned i, struct mlb_statement *ret_statement)
{
	const uint8_t *at = heartbeat->statements + (size_t)i * MLB_STATEMENT_SIZE;
	uint64_t word = mlb_get64(at + MLB_HEARTBEAT_ID);

	memcpy(ret_statement->group, at, MLB_HEARTBEAT_ID);
	ret_statement->is_giving = word > MLB_HEARTBEAT_TERM;
	ret_statement->term = word & MLB_HEARTBEAT_TERM;
}

bool mlb_heartbeat_relay_at(const struct mlb_heartbeat *heartbeat, size_t *position, struct mlb_relay *ret_relay)
{
	const uint8_t *at = heartbeat->relays + *position;

	if (*position >= heartbeat->relays_length)
		return false;
	memcpy(ret_relay->group, at, MLB_HEARTBEAT_ID);
	ret_relay->term = mlb_get64(at + MLB_HEARTBEAT_ID) & MLB_HEARTBEAT_TERM;
	ret_relay->node_length = at[MLB_RELAY_SIZE - 1];
	memcpy(ret_relay->node, at + MLB_RELAY_SIZE, ret_relay->node_length);
	ret_relay->node[ret_relay->node_length] = '\0';
	*position += MLB_RELAY_SIZE + (size_t)ret_relay->node_length;
	return true;
}

size_t mlb_heartbeat_put_id(uint8_t *out, uint32_t id)
{
	mlb_put32(out, id);
	return MLB_WANT_SIZE;
}

size_t mlb_heartbeat_put_handshake(uint8_t *out, const struct mlb_handshake *handshake)
{
	mlb_put32(out, handshake->id);
	mlb_put32(out + 4, handshake->incarnation);
	mlb_put32(out + 8, handshake->nonce);
	return MLB_HANDSHAKE_SIZE;
}

size_t mlb_heartbeat_put_statement(uint8_t *out, const struct mlb_statement *statement)
{
	memcpy(out, statement->group, MLB_HEARTBEAT_ID);
	mlb_put64(out + MLB_HEARTBEAT_ID, statement->term | (statement->is_giving ? MLB_HEARTBEAT_TERM + 1 : 0));
	return MLB_STATEMENT_SIZE;
}

size_t mlb_heartbeat_put_relay(uint8_t *out, const struct mlb_relay *relay)
{
	memcpy(out, relay->group, MLB_HEARTBEAT_ID);
	mlb_put64(out + MLB_HEARTBEAT_ID, relay->term);
	out[MLB_RELAY_SIZE - 1] = relay->node_length;
	memcpy(out + MLB_RELAY_SIZE, relay->node, relay->node_length);
	return MLB_RELAY_SIZE + (size_t)relay->node_length;
}

uint32_t mlb_heartbeat_node_id(const char *name, size_t length)
{
	uint32_t hash = 0x811c9dc5;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)name[i]) * 0x01000193;
	return hash;
}

/* RFC 1071 over an even number of bytes. */
static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i += 2)
		sum += mlb_get16(bytes + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void mlb_heartbeat_wrap(const uint8_t mac[MLB_MAC_SIZE], uint16_t port, size_t payload_length,
			uint8_t ret_headers[MLB_HEARTBEAT_WRAP])
{
	uint8_t *ip = ret_headers + MLB_ETHER_HEADER, *udp = ip + IPV4_HEADER;

	memset(ret_headers, 0, MLB_HEARTBEAT_WRAP);
	memcpy(ret_headers, mlb_mac_broadcast, MLB_MAC_SIZE);
	memcpy(ret_headers + MLB_MAC_SIZE, mac, MLB_MAC_SIZE);
	mlb_put16(ret_headers + 12, ETHERTYPE_IP);
	ip[0] = 0x45;
	ip[1] = 0xc0;	/* CS6, network control (RFC 4594 section 3.2) */
	mlb_put16(ip + 2, (uint16_t)(IPV4_HEADER + UDP_HEADER + payload_length));
	ip[6] = 0x40;	/* don't fragment */
	ip[8] = 1;	/* for this segment alone */
	ip[9] = IPPROTO_UDP;
	mlb_put32(ip + 16, INADDR_BROADCAST);
	mlb_put16(ip + 10, checksum(ip, IPV4_HEADER));
	mlb_put16(udp, port);
	mlb_put16(udp + 2, port);
	mlb_put16(udp + 4, (uint16_t)(UDP_HEADER + payload_length));
}

const uint8_t *mlb_heartbeat_unwrap(const uint8_t *frame, size_t length, uint16_t port, size_t *ret_length)
{
	const uint8_t *ip = frame + MLB_ETHER_HEADER, *udp = ip + IPV4_HEADER;
	size_t ip_length, udp_length;

	if (length < MLB_HEARTBEAT_WRAP || mlb_get16(frame + 12) != ETHERTYPE_IP || ip[0] != 0x45 ||
	    ip[6] != 0x40 || ip[7] != 0 || ip[9] != IPPROTO_UDP)
		return NULL;
	ip_length = mlb_get16(ip + 2);
	udp_length = mlb_get16(udp + 4);
	/* A short frame is padded, so there may be more than the datagram. */
	if (ip_length > length - MLB_ETHER_HEADER || udp_length < UDP_HEADER || udp_length != ip_length - IPV4_HEADER ||
	    mlb_get16(udp + 2) != port)
		return NULL;
	*ret_length = udp_length - UDP_HEADER;
	return udp + UDP_HEADER;
}
