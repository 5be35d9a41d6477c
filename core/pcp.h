/* Asking a router for a port where no UPnP gateway answers: PCP (RFC 6887) and NAT-PMP (RFC 6886), one codec for both. A
 * server listens on UDP port 5351 for either; the first octet, the version, tells them apart. */
#ifndef MLB_PCP_H
#define MLB_PCP_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define MLB_PCP_PORT 5351
#define MLB_PCP_NONCE 12		/* octets; who knows it may change the mapping (RFC 6887 section 11.2) */
#define MLB_PCP_MAP_SIZE 60		/* a PCP MAP request without options: the largest that we write */
#define MLB_PCP_MESSAGE_MOST 1100	/* RFC 6887 section 7: no message is longer */

enum mlb_pcp_version {
	MLB_NATPMP = 0,
	MLB_PCP = 2,
};

enum mlb_pcp_type {
	MLB_PCP_ADDRESS,	/* NAT-PMP: which outside address is it? */
	MLB_PCP_ANNOUNCE,	/* PCP: the server restarted */
	MLB_PCP_MAP,
	MLB_PCP_OTHER,		/* an answer that says no more than its result: an error, or to what we never ask */
};

/* One answer. Members that the type or version has not are zero. */
struct mlb_pcp_answer {
	enum mlb_pcp_version version;
	enum mlb_pcp_type type;
	unsigned result;		/* 0 is success; the numbers of the two versions differ: mlb_pcp_result_text */
	uint32_t epoch_s;		/* the server's time since it lost its state (RFC 6887 section 8.5) */
	uint32_t lifetime_s;		/* of the mapping, or of the error */
	uint8_t nonce[MLB_PCP_NONCE];
	uint8_t protocol;		/* IPPROTO_TCP, IPPROTO_UDP */
	uint16_t internal_port;
	uint16_t external_port;
	struct mlb_address external_address;	/* family 0: not said (NAT-PMP's MAP) */
};

/* What is asked for. A lifetime of 0 deletes. `external_*` are suggestions; family 0 or port 0: no wish. */
struct mlb_pcp_map {
	struct mlb_address client;	/* PCP alone: must be the request's source address */
	uint8_t nonce[MLB_PCP_NONCE];	/* PCP alone */
	uint8_t protocol;
	uint16_t internal_port;
	uint16_t external_port;
	struct mlb_address external_address;
	uint32_t lifetime_s;
};

/* Write a request; returns its length. MAP: RFC 6887 sections 7.1 and 11.1, RFC 6886 section 3.3.
 * Address: RFC 6886 section 3.2. */
size_t mlb_pcp_encode_map(enum mlb_pcp_version version, const struct mlb_pcp_map *map,
			  uint8_t ret_bytes[MLB_PCP_MAP_SIZE]);
size_t mlb_natpmp_encode_address(uint8_t ret_bytes[MLB_PCP_MAP_SIZE]);

/* Read an answer. 0, or -EBADMSG and `*ret_why` (unless NULL) says what is wrong (a constant). Options are stepped over,
 * none changes the meaning of what we ask for (RFC 6887 section 7.3). */
int mlb_pcp_decode(const uint8_t *bytes, size_t length, struct mlb_pcp_answer *ret_answer, const char **ret_why);

/* What a result means, in words (RFC 6887 section 7.4, RFC 6886 section 3.5). */
const char *mlb_pcp_result_text(enum mlb_pcp_version version, unsigned result);

#endif
