#include "pcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "octets.h"

#define PCP_HEADER 24
#define PCP_MAP 36			/* behind the header */
#define NATPMP_HEADER 8
#define NATPMP_MAP_REQUEST 12
#define NATPMP_ADDRESS_ANSWER 12
#define NATPMP_MAP_ANSWER 16

#define OPCODE_ANNOUNCE 0		/* PCP; in NAT-PMP 0 asks for the address */
#define OPCODE_MAP 1			/* PCP; in NAT-PMP 1 maps UDP and 2 maps TCP */
#define OPCODE_MAP_TCP 2
#define IS_ANSWER 0x80			/* the R bit */

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };	/* ::ffff:0:0/96 */

/* PCP's addresses are 16 octets, IPv4 as IPv4-mapped IPv6 (RFC 6887 section 5). Zero and ::ffff:0.0.0.0 say "any". */
static void put_address(uint8_t *out, const struct mlb_address *address, int family)
{
	if (family == 6) {
		memset(out, 0, 16);
		if (address->family == 6)
			mlb_address_to_bytes(address, out);
		return;
	}
	memcpy(out, mapped_prefix, sizeof(mapped_prefix));
	memset(out + 12, 0, 4);
	if (address->family == 4)
		mlb_address_to_bytes(address, out + 12);
}

static struct mlb_address get_address(const uint8_t *bytes)
{
	if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return mlb_address_from_bytes(4, bytes + 12);
	return mlb_address_from_bytes(6, bytes);
}

static size_t encode_natpmp(const struct mlb_pcp_map *map, uint8_t *ret_bytes)
{
	memset(ret_bytes, 0, NATPMP_MAP_REQUEST);
	ret_bytes[0] = MLB_NATPMP;
	ret_bytes[1] = map->protocol == IPPROTO_TCP ? OPCODE_MAP_TCP : OPCODE_MAP;
	mlb_put16(ret_bytes + 4, map->internal_port);
	/* RFC 6886 section 3.4: a deletion suggests port 0. */
	mlb_put16(ret_bytes + 6, map->lifetime_s ? map->external_port : 0);
	mlb_put32(ret_bytes + 8, map->lifetime_s);
	return NATPMP_MAP_REQUEST;
}

size_t mlb_pcp_encode_map(enum mlb_pcp_version version, const struct mlb_pcp_map *map,
			  uint8_t ret_bytes[MLB_PCP_MAP_SIZE])
{
	uint8_t *body = ret_bytes + PCP_HEADER;

	if (version == MLB_NATPMP)
		return encode_natpmp(map, ret_bytes);
	memset(ret_bytes, 0, MLB_PCP_MAP_SIZE);
	ret_bytes[0] = MLB_PCP;
	ret_bytes[1] = OPCODE_MAP;
	mlb_put32(ret_bytes + 4, map->lifetime_s);
	put_address(ret_bytes + 8, &map->client, map->client.family);
	memcpy(body, map->nonce, MLB_PCP_NONCE);
	body[12] = map->protocol;
	mlb_put16(body + 16, map->internal_port);
	mlb_put16(body + 18, map->external_port);
	put_address(body + 20, &map->external_address, map->client.family);
	return MLB_PCP_MAP_SIZE;
}

size_t mlb_natpmp_encode_address(uint8_t ret_bytes[MLB_PCP_MAP_SIZE])
{
	ret_bytes[0] = MLB_NATPMP;
	ret_bytes[1] = 0;
	return 2;
}

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

/* RFC 6886 sections 3.2, 3.3, 3.5. An error may be as short as its header. */
static int decode_natpmp(const uint8_t *bytes, size_t length, struct mlb_pcp_answer *answer, const char **ret_why)
{
	unsigned opcode = bytes[1] & ~IS_ANSWER;

	if (length < NATPMP_HEADER)
		return refuse(ret_why, "a NAT-PMP answer has at least 8 octets");
	answer->version = MLB_NATPMP;
	answer->type = MLB_PCP_OTHER;
	answer->result = mlb_get16(bytes + 2);
	answer->epoch_s = mlb_get32(bytes + 4);
	if (opcode == 0 && length >= NATPMP_ADDRESS_ANSWER) {
		answer->type = MLB_PCP_ADDRESS;
		answer->external_address = mlb_address_from_bytes(4, bytes + 8);
	} else if ((opcode == OPCODE_MAP || opcode == OPCODE_MAP_TCP) && length >= NATPMP_MAP_ANSWER) {
		answer->type = MLB_PCP_MAP;
		answer->protocol = opcode == OPCODE_MAP_TCP ? IPPROTO_TCP : IPPROTO_UDP;
		answer->internal_port = mlb_get16(bytes + 8);
		answer->external_port = mlb_get16(bytes + 10);
		answer->lifetime_s = mlb_get32(bytes + 12);
	} else if (answer->result == 0) {
		return refuse(ret_why, "a NAT-PMP success shorter than its operation has it");
	}
	return 0;
}

static void read_map(const uint8_t *body, struct mlb_pcp_answer *answer)
{
	memcpy(answer->nonce, body, MLB_PCP_NONCE);
	answer->protocol = body[12];
	answer->internal_port = mlb_get16(body + 16);
	answer->external_port = mlb_get16(body + 18);
	answer->external_address = get_address(body + 20);
}

/* RFC 6887 sections 7.2 and 11.1. */
static int decode_pcp(const uint8_t *bytes, size_t length, struct mlb_pcp_answer *answer, const char **ret_why)
{
	unsigned opcode = bytes[1] & ~IS_ANSWER;

	if (length < PCP_HEADER)
		return refuse(ret_why, "a PCP answer has at least 24 octets");
	if (length > MLB_PCP_MESSAGE_MOST || length % 4 != 0)
		return refuse(ret_why, "a PCP message has at most 1,100 octets, a multiple of 4");
	answer->version = MLB_PCP;
	answer->type = MLB_PCP_OTHER;
	answer->result = bytes[3];
	answer->lifetime_s = mlb_get32(bytes + 4);
	answer->epoch_s = mlb_get32(bytes + 8);
	if (opcode == OPCODE_ANNOUNCE) {
		answer->type = MLB_PCP_ANNOUNCE;
	} else if (opcode == OPCODE_MAP && length >= PCP_HEADER + PCP_MAP) {
		answer->type = MLB_PCP_MAP;
		read_map(bytes + PCP_HEADER, answer);
	} else if (answer->result == 0) {
		return refuse(ret_why, "a PCP success shorter than its operation has it, or to what was not asked");
	}
	return 0;
}

int mlb_pcp_decode(const uint8_t *bytes, size_t length, struct mlb_pcp_answer *ret_answer, const char **ret_why)
{
	memset(ret_answer, 0, sizeof(*ret_answer));
	if (length < 4)
		return refuse(ret_why, "shorter than any answer");
	if (!(bytes[1] & IS_ANSWER))
		return refuse(ret_why, "a request, not an answer");
	switch (bytes[0]) {
	case MLB_NATPMP:
		return decode_natpmp(bytes, length, ret_answer, ret_why);
	case MLB_PCP:
		return decode_pcp(bytes, length, ret_answer, ret_why);
	default:
		return refuse(ret_why, "a version other than 0 (NAT-PMP) and 2 (PCP)");
	}
}

const char *mlb_pcp_result_text(enum mlb_pcp_version version, unsigned result)
{
	static const char *const natpmp[] = {
		"success", "the router does not speak this version", "the router refuses it (not authorized, or switched off)",
		"the router has no connection itself", "the router has no port or memory left",
		"the router does not know this operation",
	};
	static const char *const pcp[] = {
		"success", "the router does not speak this version", "the router refuses it (not authorized)",
		"the router finds the request malformed", "the router does not know this operation",
		"the router does not know an option that it must", "the router finds an option malformed",
		"the router has no connection itself", "the router has no port or memory left",
		"the router does not map this protocol", "this client has used up its quota of ports",
		"the router cannot give the outside port or address asked for",
		"there is another NAT between this node and the router", "too many peers",
	};

	if (version == MLB_NATPMP && result < sizeof(natpmp) / sizeof(natpmp[0]))
		return natpmp[result];
	if (version == MLB_PCP && result < sizeof(pcp) / sizeof(pcp[0]))
		return pcp[result];
	return "a result that the RFC does not name";
}
