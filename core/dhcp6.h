/* DHCPv6 messages between client and server (RFC 8415 sections 8 and 21): the codec. One identity association of one client:
 * other IAs of a message are stepped over. */
#ifndef MLB_DHCP6_H
#define MLB_DHCP6_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_DHCP6_SERVER_PORT 547
#define MLB_DHCP6_CLIENT_PORT 546
#define MLB_DHCP6_MESSAGE_MOST 1452	/* what an Ethernet frame carries in one UDP datagram */
#define MLB_DHCP6_DUID_MOST 130		/* RFC 8415 section 11.1 */
#define MLB_DHCP6_TEXT_MOST 256		/* octets that we keep of a status message or name */
#define MLB_DHCP6_ADDRESSES 8		/* of one IA that we look at */
#define MLB_DHCP6_FOREVER UINT32_MAX	/* section 7.7 */

enum mlb_dhcp6_type {	/* section 7.3 */
	MLB_DHCP6_SOLICIT = 1,
	MLB_DHCP6_ADVERTISE,
	MLB_DHCP6_REQUEST,
	MLB_DHCP6_CONFIRM,
	MLB_DHCP6_RENEW,
	MLB_DHCP6_REBIND,
	MLB_DHCP6_REPLY,
	MLB_DHCP6_RELEASE,
	MLB_DHCP6_DECLINE,
	MLB_DHCP6_TYPES,
};

enum mlb_dhcp6_status {	/* section 21.13 */
	MLB_DHCP6_SUCCESS = 0,
	MLB_DHCP6_UNSPEC_FAIL,
	MLB_DHCP6_NO_ADDRS_AVAIL,
	MLB_DHCP6_NO_BINDING,
	MLB_DHCP6_NOT_ON_LINK,
	MLB_DHCP6_USE_MULTICAST,
};

struct mlb_dhcp6_duid {
	size_t length;	/* 0: absent */
	uint8_t bytes[MLB_DHCP6_DUID_MOST];
};

struct mlb_dhcp6_address {
	struct in6_addr address;
	uint32_t preferred_s, valid_s;	/* MLB_DHCP6_FOREVER: infinite */
};

struct mlb_dhcp6_message {
	enum mlb_dhcp6_type type;
	uint32_t xid;			/* 24 bits */
	struct mlb_dhcp6_duid client, server;
	uint16_t elapsed_cs;		/* hundredths of seconds; written in what clients send */
	uint8_t preference;
	uint16_t status;		/* of the message */
	uint32_t solicit_max_s;		/* option 82; 0: absent */
	bool has_ia;
	uint32_t iaid, t1_s, t2_s;
	uint16_t ia_status;
	size_t naddresses;
	struct mlb_dhcp6_address addresses[MLB_DHCP6_ADDRESSES];
	size_t text_length;		/* what a status other than success says */
	uint8_t text[MLB_DHCP6_TEXT_MOST];
	size_t fqdn_length;		/* the name in DNS wire form, without flags (RFC 4704 section 4) */
	uint8_t fqdn[MLB_DHCP6_TEXT_MOST];
};

/* Read a message. `iaid`: which IA is meant; NULL: the first one. 0, or -EBADMSG and `*ret_why` (unless NULL) says what is
 * wrong (a constant). An IA whose T1 is after T2, and an address preferred for longer than valid, are left out, as sections
 * 21.4 and 21.6 have it. */
int mlb_dhcp6_decode(const uint8_t *bytes, size_t length, const uint32_t *iaid, struct mlb_dhcp6_message *ret_message,
		     const char **ret_why);

/* Write a message. What a client sends gets its elapsed time and, but for RELEASE and DECLINE, asks for option 82. 0;
 * -EMSGSIZE when `size` has no room for it. */
int mlb_dhcp6_encode(const struct mlb_dhcp6_message *message, uint8_t *ret_bytes, size_t size, size_t *ret_length);

/* "solicit", "advertise", ...; NULL for what is no type. And back: 0. */
const char *mlb_dhcp6_type_name(enum mlb_dhcp6_type type);
enum mlb_dhcp6_type mlb_dhcp6_type_of(const char *name);

/* "NoBinding"; NULL for a number that RFC 8415 has not. */
const char *mlb_dhcp6_status_name(unsigned status);

#endif
